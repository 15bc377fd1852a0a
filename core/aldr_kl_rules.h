// The λ that ALDR-KL assigns to one sample, shared by the CPU and CUDA kernels. Formula: docs/method.md.
#pragma once

#include <cmath>
#include <cstdint>

#include <fulcrum/core/types.h>

namespace fulcrum {

/// Returns λ0·(1 − KL/(α log C)) with KL = Σ p log(C p) and p = softmax(h/λ), for a row h of C ≥ 2 values. Returns λ
/// unchanged if the result is not finite.
template <class T>
FULCRUM_HD double adapted_lambda(const T* h, int64_t classes, double lambda, double lambda0, double alpha) {
  double top = static_cast<double>(h[0]);
  for (int64_t c = 1; c < classes; c++) top = static_cast<double>(h[c]) > top ? static_cast<double>(h[c]) : top;
  double total = 0, first = 0;  // Σ e and Σ e·x, x = (h − top)/λ ≤ 0, e = exp(x)
  for (int64_t c = 0; c < classes; c++) {
    const double x = (static_cast<double>(h[c]) - top) / lambda, e = std::exp(x);
    total += e;
    first += e * x;
  }
  const double log_classes = std::log(static_cast<double>(classes));
  const double kl = log_classes + first / total - std::log(total);
  const double adapted = lambda0 * (1 - kl / (alpha * log_classes));
  return std::isfinite(adapted) ? adapted : lambda;
}

}  // namespace fulcrum
