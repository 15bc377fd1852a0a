// The KL ball: chooses λ so that the weights of a window of recent losses are as unequal as requested.
// Formulas and edge cases: docs/method.md.
#include <algorithm>
#include <cmath>

#include <fulcrum/core/cpu/risk_sums.h>
#include <fulcrum/core/kernels.h>
#include <fulcrum/core/kl_ball_rules.h>

namespace fulcrum {

namespace {

// The cumulant of n numbers d, at t.
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

}  // namespace

void Cpu::kl_ball_weights(Tensor& p, Tensor& state, Tensor& window, Tensor& statistics, const Tensor& losses,
                          const KlBallOptions& o) {
  const Tensor wide = cpu::as_f64(losses);
  if (!cpu::all_finite(wide)) return fill(p, 0);
  const int64_t batch = losses.numel(), capacity = window.numel();
  double *s = state.data<double>(), *w = window.data<double>();
  auto next = static_cast<int64_t>(s[kNext]);
  for (int64_t i = 0; i < batch; i++, next = (next + 1) % capacity) w[next] = wide.data<double>()[i];
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
  // Until the window is full, λ is solved for in every step.
  if (steps % o.every == 0 || s[kFilled] < static_cast<double>(capacity))
    s[kInvLambda] = spread > 0 ? sign * solve_kl_ball([&](double t) { return cumulant(d, n, t); }, spread, o) : 0;
  s[kBallSteps] = static_cast<double>(steps + 1);
  const double inv = s[kInvLambda], rest = cumulant(d, n, std::abs(inv)).value;
  s[kLogU] = extreme * inv + rest;
  const auto size = static_cast<double>(batch);
  const double* l = wide.data<double>();
  double total = 0;  // no exponent is above 0, as the batch is part of the window
  for (int64_t i = 0; i < batch; i++) total += std::exp((l[i] - extreme) * inv);
  cpu::write_weights(
      p, statistics, [&](int64_t i) { return std::exp((l[i] - extreme) * inv - rest) / size; },
      total > 0 ? extreme * inv + std::log(total / size) : s[kLogU]);
}

}  // namespace fulcrum
