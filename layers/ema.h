// Ema: an exponential moving average of a model's weights, often better than the weights themselves.
//
//   Ema ema(net, 0.999);                  // after net.to(…)
//   …  opt.step(); ema.update();
//   {
//     const Ema::Applied averaged(ema);   // net holds the averages while this lives
//     evaluate(net);
//   }
//
// average ← d·average + (1 − d)·value for every parameter and every floating buffer (running
// statistics), beginning with the values at construction: timm's ModelEmaV2, and
// torch.optim.swa_utils.AveragedModel with get_ema_multi_avg_fn(d) and use_buffers.
#pragma once

#include <vector>

#include <fulcrum/core/kernel_types.h>
#include <fulcrum/layers/module.h>

namespace fulcrum {

class Ema {
 public:
  /// decay d in [0, 1). The model must outlive the average.
  Ema(Module& model, double decay);
  /// Nothing where an optional control (Optimizer::control()) says that the step was not done.
  void update(const Tensor& control = {});
  /// The averages under the model's names, convolution weights [out, kh, kw, in]: live tensors, to
  /// be saved from or copied into.
  const std::vector<NamedTensor>& tensors() const { return averages_; }

  /// Exchanges the model's values (and bf16 twins) with the averages, and back at the end.
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
  std::vector<TensorPair> pairs_;  // the same tensors
  std::vector<Tensor> spares_;     // one for each, all in one block: an exchange asks for no memory
  double decay_;
};

}  // namespace fulcrum
