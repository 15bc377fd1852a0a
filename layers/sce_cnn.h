// SceCnn: the eight-layer CNN that papers on label noise train on CIFAR-10 (Wang et al., "Symmetric
// Cross Entropy for Robust Learning with Noisy Labels", ICCV 2019).
//
//   SceCnn net({.classes = 10});
//   Tensor logits = net(images);             // [N, 32, 32, 3] → [N, 10]
//
// Three blocks of two 3×3 convolutions to 64, 128 and 196 channels, each with batch norm and ReLU,
// and a 2×2 max-pool; fc1 to 256 with batch norm and ReLU; dropout; fc2. Convolutions are initialised Kaiming
// uniform and the linear layers Xavier uniform, as in https://github.com/HanxunH/SCELoss-Reproduce at 07b2adb. Later
// commits use PyTorch's defaults; with batch norm the two are nearly the same. Parameter names are those of that code
// ("block1.0.out_conv.0.weight", "fc1.0.weight").
#pragma once

#include <fulcrum/layers/classifier.h>

namespace fulcrum {

struct SceCnnOptions {
  int64_t classes = 10;
  int64_t channels = 3;      // of the images
  Size2 image = 32;          // height and width of the images, at least 8
  double dropout = 0;        // probability, before fc2
  bool normed_head = false;  // fc2 is a NormedLinear (LDAM)
  uint64_t seed = 0;         // of the initial weights and the dropout
};

class SceCnn : public Classifier {
 public:
  explicit SceCnn(const SceCnnOptions& options);
  /// x [N, H, W, channels], with H, W and channels as in the options → [N, 256].
  Tensor features(const Tensor& x) override;

 private:
  Sequential& add_block(const std::string& name, int64_t in, int64_t out);

  SceCnnOptions options_;
  Sequential& block1_;
  Sequential& block2_;
  Sequential& block3_;
  Module& fc1_;
};

}  // namespace fulcrum
