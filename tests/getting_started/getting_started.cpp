// Trains ResNet-8 with ABSGD on long-tailed Fashion-MNIST: getting_started [steps]
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include <fulcrum/core/ops.h>
#include <fulcrum/data/idx.h>
#include <fulcrum/data/imbalance.h>
#include <fulcrum/data/loader.h>
#include <fulcrum/layers/resnet.h>
#include <fulcrum/optim/absgd.h>

using namespace fulcrum;

// Stands in where Fashion-MNIST is not installed: class k is a bright row 2k + 4 under noise.
InMemoryDataset make_bars() {
  const int64_t size = 28;
  Tensor images = empty({2000, size, size, 1}, {DType::kU8, {}});
  std::vector<int64_t> labels;
  for (int64_t i = 0; i < images.size(0); i++) labels.push_back(i % 10);
  const Philox noise(/*seed=*/1, /*stream=*/100);
  for (int64_t i = 0; i < images.numel(); i++) {
    const int64_t image = i / (size * size), row = i / size % size;
    const uint32_t base = row == 2 * (image % 10) + 4 ? 128 : 0;
    const uint32_t pixel = base + noise.below(static_cast<uint64_t>(i), 128);
    images.data<uint8_t>()[i] = static_cast<uint8_t>(pixel);
  }
  return {images, labels, numbered_class_names(10)};
}

int main(int argc, char** argv) {
  const int64_t steps = argc > 1 ? std::atoll(argv[1]) : 200;

  // The data: the smallest class keeps 1 % as many images as the largest has.
  const InMemoryDataset train =
      std::filesystem::exists(kFashionMnistDir) ? load_fashion_mnist(kFashionMnistDir, /*train=*/true) : make_bars();
  const std::vector<int64_t> subset =
      imbalanced_subset(train.labels(), train.classes(), {.type = Imbalance::kExponential, .ratio = 0.01, .seed = 1});
  const ChannelStatistics statistics = channel_statistics(train, subset);
  Loader loader(train, {.batch_size = 128,
                        .indices = subset,
                        .shuffle = true,
                        .drop_last = true,
                        .augment = {.pad = 2, .flip = true, .seed = 1},
                        .mean = statistics.mean,
                        .stddev = statistics.stddev,
                        .seed = 1});

  // The network and its optimiser.
  Resnet net = resnet8({.classes = 10, .channels = 1});
  net.to(Device("cpu"));
  Absgd opt(net.parameters(), {.lr = 0.1, .momentum = 0.9, .weight_decay = 2e-4, .lambda = 5, .gamma = 0.7});

  // Training: an epoch a round, as many as it takes.
  for (int64_t step = 0; step < steps;) {
    for (const Batch& batch : loader) {                                // images, labels, indices
      Tensor losses = cross_entropy(net(batch.images), batch.labels);  // [B], one per sample
      opt.zero_grad();
      opt.weigh(losses).backward();  // Σ p_i l_i, with p_i ∝ exp(l_i / λ) held constant
      opt.step();
      if (++step % 10 == 0)
        std::printf("step %3d  loss %.3f  weights: mean %.4f, largest %.4f\n", static_cast<int>(step),
                    mean(losses).item(), mean(opt.weights()).item(), amax(opt.weights(), {0}).item());
      if (step == steps) break;
    }
  }

  // A model file has torchvision's names and layout, so that PyTorch reads it as it is.
  save_tensors("getting_started.safetensors", {net.state_dict(), {}});
  return opt.finite() ? 0 : 1;
}
