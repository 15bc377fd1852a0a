// Mlp: a multilayer perceptron for small images, as a baseline.
//
//   Mlp net({.classes = 10, .channels = 1, .image = 28});
//   Tensor logits = net(images);             // [N, 28, 28, 1] → [N, 10]
//
// Flatten, two hidden layers of 256 units with ReLU (fc1, fc2), dropout, fc3. Weights are initialised as in PyTorch's
// Linear.
#pragma once

#include <fulcrum/layers/classifier.h>

namespace fulcrum {

struct MlpOptions {
  int64_t classes = 10;
  int64_t channels = 3;      // of the images
  Size2 image = 32;          // height and width of the images
  double dropout = 0;        // probability, before fc3
  bool normed_head = false;  // fc3 is a NormedLinear (LDAM)
  uint64_t seed = 0;         // of the initial weights and the dropout
};

class Mlp : public Classifier {
 public:
  explicit Mlp(const MlpOptions& options);
  /// x [N, H, W, channels], with H, W and channels as in the options → [N, 256].
  Tensor features(const Tensor& x) override;

 private:
  MlpOptions options_;
  Linear& fc1_;
  Linear& fc2_;
};

}  // namespace fulcrum
