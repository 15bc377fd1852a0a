// What the risk kernels share: reading losses in f64, writing weights, summing statistics.
//
//   const Tensor wide = cpu::as_f64(losses);               // f64 [B]
//   if (!cpu::all_finite(wide)) return Cpu::fill(p, 0);    // leaves all state unchanged
//   cpu::write_weights(p, statistics, [&](int64_t i) { return …; });
#pragma once

#include <cmath>

#include <fulcrum/core/kernels.h>
#include <fulcrum/core/risk_rules.h>

namespace fulcrum::cpu {

/// Returns the losses in f64: themselves if they are f64 already, else a copy.
inline Tensor as_f64(const Tensor& losses) {
  if (losses.dtype() == DType::kF64) return losses;
  Tensor wide = empty(losses.shape(), {DType::kF64, losses.device()});
  Cpu::cast(wide, losses);
  return wide;
}

inline bool all_finite(const Tensor& f64) {
  const double* v = f64.data<double>();
  for (int64_t i = 0; i < f64.numel(); i++)
    if (!std::isfinite(v[i])) return false;
  return true;
}

/// Sets p_i = weight(i), rounded to the dtype of p, and adds the statistics of the weights.
template <class F>
void write_weights(Tensor& p, Tensor& statistics, F&& weight, double log_mean = 0) {
  double sum = 0, squares = 0;
  visit_floating(p.dtype(), "risk", [&]<class T>() {
    T* out = p.data<T>();
    for (int64_t i = 0; i < p.numel(); i++) {
      const double w = weight(i);
      out[i] = T(static_cast<Accumulate<T>>(w));
      sum += w;
      squares += w * w;
    }
  });
  add_statistics(statistics.data<double>(), log_mean, sum, squares, p.numel());
}

}  // namespace fulcrum::cpu
