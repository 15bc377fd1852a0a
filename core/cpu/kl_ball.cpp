// The KL ball: λ such that the weights of a window of recent losses are as unequal as asked for.
// Formulas and edges: docs/method.md.
#include <algorithm>
#include <cmath>
#include <utility>

#include <fulcrum/core/cpu/risk_sums.h>
#include <fulcrum/core/kernels.h>

namespace fulcrum {

namespace {

// K(t) = log mean exp(t·l) with its first two derivatives: mean and variance of l under the
// weights.
struct Cumulant {
  double value, mean, variance;
};

// d ≤ 0 are the losses, less the extreme one and signed, so that every exponent is at most 0.
Cumulant cumulant(const double* d, int64_t n, double t) {
  double total = 0, first = 0;
  for (int64_t i = 0; i < n; i++) {
    const double e = std::exp(t * d[i]);
    total += e;
    first += e * d[i];
  }
  const double mean = first / total;
  double second = 0;
  for (int64_t i = 0; i < n; i++) second += std::exp(t * d[i]) * (d[i] - mean) * (d[i] - mean);
  return {std::log(total / static_cast<double>(n)), mean, second / total};
}

// How far the weights at t are beyond the target (a growing function of t), and its derivative.
struct Excess {
  double value, slope;
};

Excess excess(const double* d, int64_t n, double t, const KlBallOptions& o) {
  const Cumulant one = cumulant(d, n, t);
  if (!o.by_fraction) return {t * one.mean - one.value - o.target, t * one.variance};
  // log of (Σp)²/(n Σp²) is 2K(t) − K(2t).
  const Cumulant two = cumulant(d, n, 2 * t);
  return {two.value - 2 * one.value + std::log(o.target), 2 * (two.mean - one.mean)};
}

// Newton's method, and bisection where it would leave the bracket.
double solve(const double* d, int64_t n, double spread, const KlBallOptions& o) {
  double low = 0, high = 1 / spread;
  // A target beyond what the window can reach ends here: only the extreme losses are left.
  const double most = 0x1p20 / spread;
  while (high < most && excess(d, n, high, o).value < 0) low = std::exchange(high, 2 * high);
  double t = low + (high - low) / 2;
  for (int i = 0; i < 60 && high - low > 1e-12 * high; i++) {
    const Excess e = excess(d, n, t, o);
    if (std::abs(e.value) < 1e-12) break;
    (e.value < 0 ? low : high) = t;
    const double newton = t - e.value / e.slope;
    t = newton > low && newton < high ? newton : low + (high - low) / 2;
  }
  return t;
}

}  // namespace

void Cpu::kl_ball_weights(Tensor& p, Tensor& state, Tensor& window, Tensor& statistics,
                          const Tensor& losses, const KlBallOptions& o) {
  const Tensor wide = cpu::as_f64(losses);
  if (!cpu::all_finite(wide)) return fill(p, 0);
  const int64_t batch = losses.numel(), capacity = window.numel();
  double *s = state.data<double>(), *w = window.data<double>();
  auto next = static_cast<int64_t>(s[kNext]);
  for (int64_t i = 0; i < batch; i++, next = (next + 1) % capacity)
    w[next] = wide.data<double>()[i];
  const int64_t n = std::min(capacity, static_cast<int64_t>(s[kFilled]) + batch);
  s[kNext] = static_cast<double>(next);
  s[kFilled] = static_cast<double>(n);

  const auto [least, most] = std::minmax_element(w, w + n);
  const double extreme = o.positive ? *most : *least, spread = *most - *least;
  const double sign = o.positive ? 1 : -1;
  Tensor shifted = empty({n}, {DType::kF64, losses.device()});
  double* d = shifted.data<double>();
  for (int64_t i = 0; i < n; i++) d[i] = sign * (w[i] - extreme);
  const auto steps = static_cast<int64_t>(s[kBallSteps]);
  // The first windows are small: λ follows each of them.
  if (steps % o.every == 0 || s[kFilled] < static_cast<double>(capacity))
    s[kInvLambda] = spread > 0 ? sign * solve(d, n, spread, o) : 0;
  s[kBallSteps] = static_cast<double>(steps + 1);
  const double inv = s[kInvLambda], rest = cumulant(d, n, std::abs(inv)).value;
  s[kLogU] = extreme * inv + rest;
  const auto size = static_cast<double>(batch);
  const double* l = wide.data<double>();
  double total = 0;  // the batch is part of the window: no exponent is above 0
  for (int64_t i = 0; i < batch; i++) total += std::exp((l[i] - extreme) * inv);
  cpu::write_weights(
      p, statistics, [&](int64_t i) { return std::exp((l[i] - extreme) * inv - rest) / size; },
      total > 0 ? extreme * inv + std::log(total / size) : s[kLogU]);
}

}  // namespace fulcrum
