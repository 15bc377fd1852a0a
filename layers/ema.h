// Ema: an exponential moving average of a model's weights, often better than the weights themselves.
//
//   Ema ema(net, 0.999);                  // after net.to(…)
//   …  opt.step(); ema.update();
//   {
//     const Ema::Applied averaged(ema);   // net holds the averages until the end of this scope
//     evaluate(net);
//   }
//
// average ← d·average + (1 − d)·value for every parameter and every floating-point buffer (running
// statistics), starting from the values at construction. Same as timm's ModelEmaV2 and as
// torch.optim.swa_utils.AveragedModel with get_ema_multi_avg_fn(d) and use_buffers.
#pragma once

#include <vector>

#include <fulcrum/core/kernel_types.h>
#include <fulcrum/layers/module.h>

namespace fulcrum {

class Ema {
 public:
  /// `decay` is d, in [0, 1). Call it after model.to(). The model must outlive the Ema.
  Ema(Module& model, double decay);
  /// Updates the averages. Does nothing if `control` (Optimizer::control(), optional) says that the step was skipped.
  void update(const Tensor& control = {});
  /// The averages under the model's names; convolution weights are [out, kh, kw, in]. These are live tensors: save
  /// from them, or copy into them to load.
  const std::vector<NamedTensor>& tensors() const { return averages_; }

  /// Swaps the model's values (and bf16 twins) with the averages for its lifetime.
  class Applied {
   public:
    explicit Applied(Ema& ema) : ema_(ema) { ema_.exchange(); }
    ~Applied() { ema_.exchange(); }
    Applied(const Applied&) = delete;
    Applied& operator=(const Applied&) = delete;

   private:
    Ema& ema_;
  };

 private:
  void exchange();
  std::vector<NamedTensor> live_, averages_;
  std::vector<TensorPair> pairs_;  // {average, value}: the same tensors, as lerp_all takes them
  std::vector<Tensor> spares_;     // scratch for exchange(), one per tensor, all on one block allocated in advance
  double decay_;
};

}  // namespace fulcrum
