// λ of the KL ball: a root by Newton's method, shared by the CPU and CUDA kernels. Formulas and
// edges: docs/method.md.
//
//   const auto cumulant = [&](double t) -> Cumulant { … of the window … };
//   const double t = solve_kl_ball(cumulant, most - least, o);      // |1/λ|
#pragma once

#include <cmath>

#include <fulcrum/core/kernel_types.h>

namespace fulcrum {

/// K(t) = log mean exp(t·d) with its first two derivatives: mean and variance of d under the
/// weights. d ≤ 0 are the losses, less the extreme one and signed, so that every exponent is at most
/// 0.
struct Cumulant {
  double value, mean, variance;
};

/// How far the weights at t are beyond the target (a growing function of t), and its derivative.
struct KlBallExcess {
  double value, slope;
};

template <class F>
FULCRUM_HD KlBallExcess kl_ball_excess(const F& cumulant, double t, const KlBallOptions& o) {
  const Cumulant one = cumulant(t);
  if (!o.by_fraction) return {t * one.mean - one.value - o.target, t * one.variance};
  // log of (Σp)²/(n Σp²) is 2K(t) − K(2t).
  const Cumulant two = cumulant(2 * t);
  return {two.value - 2 * one.value + std::log(o.target), 2 * (two.mean - one.mean)};
}

/// Newton's method, and bisection where it would leave the bracket. `spread` > 0 is the largest |d|.
template <class F>
FULCRUM_HD double solve_kl_ball(const F& cumulant, double spread, const KlBallOptions& o) {
  double low = 0, high = 1 / spread;
  // A target beyond what the window can reach ends here: only the extreme losses are left.
  const double most = 0x1p20 / spread;
  while (high < most && kl_ball_excess(cumulant, high, o).value < 0) {
    low = high;
    high *= 2;
  }
  double t = low + (high - low) / 2;
  for (int i = 0; i < 60 && high - low > 1e-12 * high; i++) {
    const KlBallExcess e = kl_ball_excess(cumulant, t, o);
    if (std::abs(e.value) < 1e-12) break;
    (e.value < 0 ? low : high) = t;
    const double newton = t - e.value / e.slope;
    t = newton > low && newton < high ? newton : low + (high - low) / 2;
  }
  return t;
}

}  // namespace fulcrum
