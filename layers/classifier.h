// Classifier: a network made of a feature extractor and a head, the base class of all networks of this library.
//
//   struct Net : Classifier {
//     Conv2d& conv = add<Conv2d>("conv", Conv2dOptions{.in = 3, .out = 16, .kernel = 3});
//     Net() { add_head("fc", {.in = 16, .out = 10}, {.dropout = 0.2}); }
//     Tensor features(const Tensor& x) override { return global_avg_pool2d(relu(conv(x))); }
//   };
#pragma once

#include <string>

#include <fulcrum/layers/layers.h>

namespace fulcrum {

struct HeadOptions {
  double dropout = 0;   // probability, before the head
  bool normed = false;  // the head is a NormedLinear (LDAM)
};

class Classifier : public Module {
 public:
  using Module::Module;
  /// x → [N, D], the input of the head before dropout.
  virtual Tensor features(const Tensor& x) = 0;
  /// x → logits [N, classes].
  Tensor forward(const Tensor& x) override;

 protected:
  /// Adds the head; call it after all other children are added. A normed head uses only `in` and `out` of `linear`.
  void add_head(const std::string& name, const LinearOptions& linear, const HeadOptions& options);

 private:
  Dropout* dropout_ = nullptr;  // null without dropout
  Module* head_ = nullptr;
};

}  // namespace fulcrum
