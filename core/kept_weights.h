// The converted weights that InferenceMode keeps from one call of a convolution to the next.
//
//   const Tensor packed = kept_weight(w, {WeightForm::kWinograd, g, x.dtype(), threads}, [&] { return pack(w); });
//
// Outside the mode, kept_weight() just returns pack(w).
#pragma once

#include <functional>
#include <map>
#include <utility>

#include <fulcrum/core/kernels.h>

namespace fulcrum {

struct WeightForm {
  enum Kind { kCast, kWinograd, kLibrary } kind;
  Conv2dGeometry g;
  DType activations;
  int threads;
  friend auto operator<=>(const WeightForm&, const WeightForm&) = default;
};

class KeptWeights {
 public:
  using Make = std::function<Tensor()>;
  Tensor get(const Tensor& weight, const WeightForm& form, const Make& make);

  /// The forms kept by this thread's innermost InferenceMode; null outside the mode.
  inline static thread_local KeptWeights* active = nullptr;

 private:
  // At this many, all are dropped: images of ever new sizes, or weights computed in each call, would fill the memory.
  static constexpr size_t kMost = 1024;
  struct Kept {
    Tensor weight;  // held so that its address, the key, is not reused for another weight
    Tensor form;
  };
  std::map<std::pair<const void*, WeightForm>, Kept> kept_;
};

template <class Make>
Tensor kept_weight(const Tensor& weight, const WeightForm& form, Make make) {
  return KeptWeights::active ? KeptWeights::active->get(weight, form, make) : make();
}

}  // namespace fulcrum
