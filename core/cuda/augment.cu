// Makes batches of images from the u8 data set: gather, random crop of the padded image, flip, rotation, normalisation,
// random erasing.
#include <fulcrum/core/augment_rules.h>
#include <fulcrum/core/kernels.h>
#include <fulcrum/core/random.h>
#include <fulcrum/core/cuda/device.cuh>

namespace fulcrum {

using namespace cuda;

namespace {

struct AugmentInputs {
  const uint8_t* images;
  const int64_t *indices, *counters;
  const float *mean, *stddev;
  int64_t h, w, channels;
};

constexpr int64_t kPixelsPerThread = 4;

// `parts` blocks share an image, which has fewer than 2³² pixels. A thread's pixels are parts · blockDim.x apart.
template <class T>
__global__ void augment_kernel(T* y, AugmentInputs in, int64_t batch, int64_t parts, Philox philox, AugmentOptions o) {
  const int64_t pixels = in.h * in.w;
  for (int64_t job = blockIdx.x; job < batch * parts; job += gridDim.x) {
    const int64_t b = job / parts, part = job % parts;
    const AugmentDraw draw(o, philox.block(static_cast<uint64_t>(in.counters[b])), in.h, in.w);
    const Erased gone(o, in.counters[b], in.h, in.w);
    const uint8_t* image = in.images + in.indices[b] * pixels * in.channels;
    T* out = y + b * pixels * in.channels;
    for (int64_t i = part * blockDim.x + threadIdx.x; i < pixels; i += parts * blockDim.x) {
      const auto at = static_cast<uint32_t>(i), width = static_cast<uint32_t>(in.w);  // 64-bit division is slow
      int64_t row = at / width, column = at % width;
      const bool erased = gone.contains(row, column);
      const bool inside = draw.to_source(row, column, in.h, in.w);
      const uint8_t* pixel = image + (inside ? (row * in.w + column) * in.channels : 0);
      for (int64_t c = 0; c < in.channels; c++) {
        const float value = inside ? static_cast<float>(pixel[c]) : 0.0f;
        out[i * in.channels + c] = erased ? T(0.0f) : T((value / 255.0f - in.mean[c]) / in.stddev[c]);
      }
    }
  }
}

}  // namespace

void Cuda::augment(Tensor& y, const Tensor& images, const Tensor& indices, const Tensor& counters, const Tensor& mean,
                   const Tensor& stddev, const AugmentOptions& o) {
  const int64_t batch = y.size(0), pixels = images.size(1) * images.size(2);
  const AugmentInputs in{images.data<uint8_t>(), indices.data<int64_t>(), counters.data<int64_t>(), mean.data<float>(),
                         stddev.data<float>(),   images.size(1),          images.size(2),           images.size(3)};
  const int64_t parts = std::max<int64_t>(1, pixels / (kThreads * kPixelsPerThread));
  visit_floating(y.dtype(), "augment", [&]<class T>() {
    launch(augment_kernel<T>, grid_for(batch * parts * kThreads), y.data<T>(), in, batch, parts,
           Philox(o.seed, streams::kAugment), o);
  });
}

}  // namespace fulcrum
