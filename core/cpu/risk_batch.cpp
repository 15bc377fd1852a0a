// The risks CVaR, χ² and RGD, which depend only on the current batch, and the group risk, which keeps state per group.
// Formulas and edge cases: docs/method.md. All arithmetic is f64, as there are only B numbers per step.
#include <algorithm>
#include <cmath>
#include <functional>

#include <fulcrum/core/cpu/risk_sums.h>
#include <fulcrum/core/kernels.h>
#include <fulcrum/core/risk_rules.h>

namespace fulcrum {

void Cpu::cvar_weights(Tensor& p, Tensor& statistics, const Tensor& losses, double level) {
  const Tensor wide = cpu::as_f64(losses);
  if (!cpu::all_finite(wide)) return fill(p, 0);
  const double* l = wide.data<double>();
  const int64_t batch = losses.numel();
  const double share = level * static_cast<double>(batch);  // so many samples share all weight
  const auto whole = std::min(static_cast<int64_t>(share), batch - 1);
  Tensor sorted = wide.clone();
  double* s = sorted.data<double>();
  std::nth_element(s, s + whole, s + batch, std::greater<>());
  const double threshold = s[whole];
  const auto above = std::count_if(l, l + batch, [&](double v) { return v > threshold; });
  const auto ties = std::count(l, l + batch, threshold);
  const double rest = std::max(0.0, share - static_cast<double>(above)) / (share * static_cast<double>(ties));
  cpu::write_weights(p, statistics, [&](int64_t i) {
    return l[i] > threshold ? 1 / share : l[i] == threshold ? rest : 0;
  });
}

namespace {

// Computes d = l − max l in place, and returns the number of losses at the maximum.
int64_t subtract_maximum(Tensor& d) {
  double* v = d.data<double>();
  const double top = *std::max_element(v, v + d.numel());
  int64_t ties = 0;
  for (int64_t i = 0; i < d.numel(); i++) {
    v[i] -= top;
    ties += v[i] == 0;
  }
  return ties;
}

// ½·mean((Bp−1)²) = ½·(B Σr²/(Σr)² − 1) for p = r/Σr, r = relu(d − eta). It increases with eta.
double divergence(const Tensor& d, double eta) {
  double sum = 0, squares = 0;
  for (int64_t i = 0; i < d.numel(); i++) {
    const double r = std::max(0.0, d.data<double>()[i] - eta);
    sum += r;
    squares += r * r;
  }
  return 0.5 * (static_cast<double>(d.numel()) * squares / (sum * sum) - 1);
}

// Requires that d has the maximum 0 and also smaller values.
double solve_eta(const Tensor& d, double rho) {
  const double* v = d.data<double>();
  const auto size = static_cast<double>(d.numel());
  const double least = *std::min_element(v, v + d.numel());
  double mean = 0, variance = 0;
  for (int64_t i = 0; i < d.numel(); i++) mean += v[i] / size;
  for (int64_t i = 0; i < d.numel(); i++) variance += (v[i] - mean) * (v[i] - mean) / size;
  return solve_chi2_eta(least, mean, variance, rho, [&](double eta) { return divergence(d, eta); });
}

}  // namespace

void Cpu::chi2_weights(Tensor& p, Tensor& statistics, const Tensor& losses, double rho) {
  Tensor d = empty(losses.shape(), {DType::kF64, losses.device()});
  cast(d, losses);
  if (!cpu::all_finite(d)) return fill(p, 0);
  const auto ties = static_cast<double>(subtract_maximum(d));
  const double* v = d.data<double>();
  const auto size = static_cast<double>(d.numel());
  // Putting all weight on the maximum stays inside the ball, e.g. for B ≤ 1 + 2ρ or if all losses are equal.
  if (rho >= 0.5 * (size / ties - 1))
    return cpu::write_weights(p, statistics, [&](int64_t i) { return v[i] == 0 ? 1 / ties : 0; });
  const double eta = solve_eta(d, rho);
  double sum = 0;
  for (int64_t i = 0; i < d.numel(); i++) sum += std::max(0.0, v[i] - eta);
  cpu::write_weights(p, statistics, [&](int64_t i) { return std::max(0.0, v[i] - eta) / sum; });
}

void Cpu::rgd_weights(Tensor& p, Tensor& statistics, const Tensor& losses, double tau) {
  const Tensor wide = cpu::as_f64(losses);
  if (!cpu::all_finite(wide)) return fill(p, 0);
  const auto size = static_cast<double>(losses.numel());
  cpu::write_weights(p, statistics,
                     [&](int64_t i) { return std::exp(std::min(wide.data<double>()[i], tau) / (tau + 1)) / size; });
}

void Cpu::group_weights(Tensor& p, Tensor& log_q, Tensor& statistics, const Tensor& losses, const Tensor& groups,
                        const Tensor& shift, double eta) {
  const Tensor wide = cpu::as_f64(losses);
  if (!cpu::all_finite(wide)) return fill(p, 0);
  const int64_t batch = losses.numel(), number = log_q.numel();
  const int64_t* g = groups.data<int64_t>();
  double* q = log_q.data<double>();
  Tensor sums = zeros({2, number}, {DType::kF64, losses.device()});
  double *count = sums.data<double>(), *total = count + number;
  for (int64_t i = 0; i < batch; i++) {
    check(g[i] >= 0 && g[i] < number, "[risk] expected groups in [0, ", number, "), got ", g[i]);
    count[g[i]] += 1;
    total[g[i]] += wide.data<double>()[i];
  }
  for (int64_t k = 0; k < number; k++) {
    if (shift) q[k] += shift.data<double>()[k];
    if (count[k] > 0) q[k] += eta * total[k] / count[k];
  }
  const double top = *std::max_element(q, q + number);
  double mass = 0;
  for (int64_t k = 0; k < number; k++) mass += std::exp(q[k] - top);
  const double log_mass = top + std::log(mass);
  for (int64_t k = 0; k < number; k++) q[k] -= log_mass;
  cpu::write_weights(p, statistics, [&](int64_t i) { return std::exp(q[g[i]]) / count[g[i]]; });
}

}  // namespace fulcrum
