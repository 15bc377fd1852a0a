// InferenceMode: no gradients, and weights that stay as they are.
//
//   net.train(false);
//   const InferenceMode inference;
//   for (const Tensor& image : images) use(net(image));
//
// A convolution on the CPU computes with its weights in another form, Winograd's transforms or the library's layout,
// and makes that form anew in each call. In this mode it keeps the form of the first call: at batch 1 that saves a
// third of ResNet-32's time. Forms take up to four times the memory of the weights and are freed at the end of the
// mode. Weights must not change while it lasts; it holds for the thread that opened it. The name is PyTorch's.
#pragma once

#include <memory>

#include <fulcrum/core/autograd.h>

namespace fulcrum {

class KeptWeights;

class InferenceMode {
 public:
  InferenceMode();
  ~InferenceMode();
  InferenceMode(const InferenceMode&) = delete;
  InferenceMode& operator=(const InferenceMode&) = delete;

 private:
  NoGrad no_grad_;
  std::unique_ptr<KeptWeights> kept_;
  KeptWeights* previous_;
};

}  // namespace fulcrum
