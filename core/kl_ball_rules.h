// The λ of the KL ball, found by Newton's method; shared by the CPU and CUDA kernels.
// Formulas and edge cases: docs/method.md.
//
//   const auto cumulant = [&](double t) -> Cumulant { … over the window … };
//   const double t = solve_kl_ball(cumulant, most - least, o);      // |1/λ|
#pragma once

#include <cmath>

#include <fulcrum/core/kernel_types.h>

namespace fulcrum {

/// K(t) = log mean exp(t·d) and its first two derivatives, the mean and variance of d under the weights. d is ± the
/// difference of a loss from the most extreme one, with the sign that makes d ≤ 0, so no exponent is above 0.
struct Cumulant {
  double value, mean, variance;
};

/// How far the statistic of the weights at t is beyond the target (an increasing function of t), and its derivative.
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

/// Returns t = |1/λ|, by Newton's method with bisection where it would leave the bracket. `spread` > 0: largest |d|.
template <class F>
FULCRUM_HD double solve_kl_ball(const F& cumulant, double spread, const KlBallOptions& o) {
  double low = 0, high = 1 / spread;
  // Stop here if the window cannot reach the target: by now only the extreme losses have weight.
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
