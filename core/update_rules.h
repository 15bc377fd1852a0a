// The arithmetic of one optimiser step on one element, shared by the CPU and CUDA kernels.
// The order of operations is that of PyTorch's torch.optim.SGD, Adam and AdamW.
#pragma once

#include <cmath>

#include <fulcrum/core/kernel_types.h>

namespace fulcrum {

/// Computes what begin_update writes into control. squares: the sum of the squares of all gradients.
FULCRUM_HD inline void begin_step(double* control, double squares, double max_norm) {
  const double norm = std::sqrt(squares);
  control[kNorm] = norm;
  control[kClip] = max_norm > 0 ? std::fmin(1.0, max_norm / (norm + 1e-6)) : 1.0;
  if (!std::isfinite(squares)) control[kBad] = 1;
  if (control[kBad] == 0) control[kStep] += 1;
}

/// m ← μ·m + d;  p ← p − lr·(nesterov ? d + μ·m : m), with d = clip·g + wd·p.
template <class T>
struct SgdStep {
  T lr, weight_decay, clip, momentum;
  bool nesterov;

  FULCRUM_HD SgdStep(const SgdRule& rule, double learning_rate, double decay, double clip_factor)
      : lr(static_cast<T>(learning_rate)),
        weight_decay(static_cast<T>(decay)),
        clip(static_cast<T>(clip_factor)),
        momentum(static_cast<T>(rule.momentum)),
        nesterov(rule.nesterov) {}

  FULCRUM_HD void operator()(T& p, T g) const { p -= lr * (clip * g + weight_decay * p); }
  FULCRUM_HD void operator()(T& p, T& m, T g) const {
    const T d = clip * g + weight_decay * p;
    m = momentum * m + d;
    p -= lr * (nesterov ? d + momentum * m : m);
  }
};

/// The bias corrections 1 − β₁ᵗ and √(1 − β₂ᵗ), the same for all elements. t counts from 1.
struct AdamCorrections {
  double first, root_second;
};
FULCRUM_HD inline AdamCorrections adam_corrections(const AdamRule& rule, double t) {
  return {1 - std::pow(rule.beta1, t), std::sqrt(1 - std::pow(rule.beta2, t))};
}

/// Kingma & Ba 2015, algorithm 1; `decoupled` as in Loshchilov & Hutter 2019, algorithm 2.
template <class T>
struct AdamStep {
  T step_size, weight_decay, shrink, clip, beta1, beta2, eps, root_correction2;

  FULCRUM_HD AdamStep(const AdamRule& rule, double lr, double decay, double clip_factor, const AdamCorrections& c)
      : step_size(static_cast<T>(lr / c.first)),
        weight_decay(static_cast<T>(rule.decoupled ? 0 : decay)),
        shrink(static_cast<T>(rule.decoupled ? 1 - lr * decay : 1)),
        clip(static_cast<T>(clip_factor)),
        beta1(static_cast<T>(rule.beta1)),
        beta2(static_cast<T>(rule.beta2)),
        eps(static_cast<T>(rule.eps)),
        root_correction2(static_cast<T>(c.root_second)) {}

  FULCRUM_HD void operator()(T& p, T& m, T& v, T g) const {
    p *= shrink;
    const T d = clip * g + weight_decay * p;
    m = beta1 * m + (1 - beta1) * d;
    v = beta2 * v + (1 - beta2) * d * d;
    p -= step_size * m / (std::sqrt(v) / root_correction2 + eps);
  }
};

}  // namespace fulcrum
