// dlib beside `fulcrum bench`: ResNet-32 on random 32×32 images, f32, dlib's SGD; with --inference the logits alone,
// batch normalisation as a fixed affine map. The option A shortcut is exact up to the order of channels: a 1×1 pooling
// of stride 2 takes every second pixel, and dlib's sum counts missing channels as zeros (the network of cifar_resnet.py
// has half of them in front). A server (step_server.h), built and driven by cpu_bench.sh.
//
//   dlib_step --batch-size 128 --threads 2
//
// dlib's convolutions on a CPU are im2col and a matrix product per image; the products are OpenBLAS's, on --threads
// threads, the rest runs on one.
#include <array>
#include <vector>

#include <cblas.h>
#include <dlib/dnn.h>
#include <dlib/revision.h>

#include "step_server.h"

using namespace dlib;

template <long channels, int stride, typename SUBNET>
using conv3x3 = add_layer<con_<channels, 3, 3, stride, stride, 1, 1>, SUBNET>;

template <int stride, typename SUBNET>
using every_second = max_pool<1, 1, stride, stride, SUBNET>;

template <template <typename> class NORM, long channels, int stride, typename SUBNET>
using branch = NORM<conv3x3<channels, 1, relu<NORM<conv3x3<channels, stride, SUBNET>>>>>;

template <template <typename> class NORM, long channels, typename SUBNET>
using block = relu<add_prev1<branch<NORM, channels, 1, tag1<SUBNET>>>>;

template <template <typename> class NORM, long channels, typename SUBNET>
using block_down = relu<add_prev2<every_second<2, skip1<tag2<branch<NORM, channels, 2, tag1<SUBNET>>>>>>>;

template <typename SUBNET>
using train16 = block<bn_con, 16, SUBNET>;
template <typename SUBNET>
using train32 = block<bn_con, 32, SUBNET>;
template <typename SUBNET>
using train64 = block<bn_con, 64, SUBNET>;
template <typename SUBNET>
using infer16 = block<affine, 16, SUBNET>;
template <typename SUBNET>
using infer32 = block<affine, 32, SUBNET>;
template <typename SUBNET>
using infer64 = block<affine, 64, SUBNET>;

using Image = std::array<matrix<float>, 3>;

template <template <typename> class NORM, template <typename> class B16, template <typename> class B32,
          template <typename> class B64>
using resnet32 = loss_multiclass_log<fc<
    10,
    avg_pool_everything<repeat<
        4, B64,
        block_down<NORM, 64,
                   repeat<4, B32, block_down<NORM, 32, repeat<5, B16, relu<NORM<conv3x3<16, 1, input<Image>>>>>>>>>>>>;

using TrainingNet = resnet32<bn_con, train16, train32, train64>;
using InferenceNet = resnet32<affine, infer16, infer32, infer64>;

std::vector<Image> random_images(int count) {
  dlib::rand random(0);
  std::vector<Image> images(static_cast<size_t>(count));
  for (Image& image : images)
    for (matrix<float>& plane : image) {
      plane.set_size(32, 32);
      for (float& value : plane) value = static_cast<float>(random.get_random_gaussian());
    }
  return images;
}

int main(int argc, char** argv) {
  const Flags flags = parse_flags(argc, argv, "ResNet-32 in dlib; a server of `run SECONDS`");
  if (flags.amp != "off") {
    std::fprintf(stderr, "dlib_step: --amp: expected off, as dlib has f32 alone, got %s\n", flags.amp.c_str());
    return 2;
  }
  openblas_set_num_threads(flags.threads);
  const std::vector<Image> images = random_images(flags.batch_size);
  std::vector<unsigned long> labels;
  for (int i = 0; i < flags.batch_size; i++) labels.push_back(static_cast<unsigned long>(i % 10));
  const std::string version = std::to_string(DLIB_MAJOR_VERSION) + "." + std::to_string(DLIB_MINOR_VERSION);

  TrainingNet net;
  disable_duplicative_biases(net);
  resizable_tensor x;
  net.to_tensor(images.begin(), images.end(), x);
  if (flags.inference) {
    net.subnet().forward(x);  // what makes its parameters
    InferenceNet fixed(net);
    return serve(flags, version, [&] { return static_cast<double>(fixed.subnet().forward(x).host()[0]); });
  }
  std::vector<sgd> solvers(TrainingNet::num_computational_layers, sgd(2e-4f, 0.9f));
  return serve(flags, version, [&] {
    const double loss = net.compute_parameter_gradients(x, labels.begin());
    net.update_parameters(make_sstack(solvers), 0.1);
    return loss;
  });
}
