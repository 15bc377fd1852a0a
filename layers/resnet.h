// Resnet: the residual networks for small images (He et al., "Deep Residual Learning for Image Recognition",
// CVPR 2016, §4.2) with parameter-free shortcuts (option A), as used in the long-tailed CIFAR papers.
//
//   Resnet net = resnet32({.classes = 10});
//   Tensor logits = net(images);             // [N, H, W, 3] → [N, 10]
//
// conv1 3×3 to 16 channels, bn1, ReLU; layer1, layer2, layer3 of n basic blocks with 16, 32, 64
// channels, the last two at half the resolution; global average pool; dropout; fc. Depth 6n + 2.
// Convolutions and fc are initialised Kaiming normal (fan in), as in
// https://github.com/akamaster/pytorch_resnet_cifar10 and https://github.com/kaidic/LDAM-DRW;
// parameter names are torchvision's.
#pragma once

#include <string>

#include <fulcrum/layers/classifier.h>

namespace fulcrum {

struct ResnetOptions {
  int64_t classes = 10;
  int64_t channels = 3;      // of the images
  double dropout = 0;        // probability, before fc
  bool normed_head = false;  // fc is a NormedLinear (LDAM)
  uint64_t seed = 0;         // of the initial weights and the dropout
  bool recompute = false;    // activation checkpointing: blocks save only their input and run again in backward
};

/// The shortcut of option A: x[:, ::stride, ::stride, :] with (out − C)/2 zero channels on either side.
/// x [N, H, W, C] → [N, ⌈H/stride⌉, ⌈W/stride⌉, out]; out − C must be even and not negative.
Tensor pad_shortcut(const Tensor& x, int64_t stride, int64_t out);

struct BasicBlockOptions {
  int64_t in;
  int64_t out;
  int64_t stride = 1;
};

/// relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x)).
class BasicBlock : public Module {
 public:
  explicit BasicBlock(const BasicBlockOptions& options);
  Tensor forward(const Tensor& x) override;

 private:
  BasicBlockOptions options_;
  Conv2d& conv1_;
  BatchNorm& bn1_;
  Conv2d& conv2_;
  BatchNorm& bn2_;
};

class Resnet : public Classifier {
 public:
  /// Throws Error unless depth = 6n + 2 with n ≥ 1.
  Resnet(int64_t depth, const ResnetOptions& options);
  /// x [N, H, W, channels] → [N, 64].
  Tensor features(const Tensor& x) override;

 private:
  Sequential& add_layer(const std::string& name, const BasicBlockOptions& first);

  int64_t blocks_;  // n, in each of the three layers
  Conv2d& conv1_;
  BatchNorm& bn1_;
  Sequential& layer1_;
  Sequential& layer2_;
  Sequential& layer3_;
};

Resnet resnet8(const ResnetOptions& options = {});
Resnet resnet20(const ResnetOptions& options = {});
Resnet resnet32(const ResnetOptions& options = {});
Resnet resnet44(const ResnetOptions& options = {});
Resnet resnet56(const ResnetOptions& options = {});
Resnet resnet110(const ResnetOptions& options = {});

}  // namespace fulcrum
