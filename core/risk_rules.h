// The scalar part of the risks, shared by the CPU and CUDA kernels. Formulas: docs/method.md.
#pragma once

#include <cmath>
#include <limits>

#include <fulcrum/core/kernel_types.h>

namespace fulcrum {

/// Adds one step to the statistics. log_mean: log mean exp(l/λ) for a risk with a λ. sum, squares: Σ p and Σ p².
FULCRUM_HD inline void add_statistics(double* statistics, double log_mean, double sum, double squares, int64_t batch) {
  statistics[kSumLogMean] += log_mean;
  statistics[kSumWeight] += sum;
  statistics[kSumEffective] += squares > 0 ? sum * sum / (static_cast<double>(batch) * squares) : 0;
  statistics[kSteps] += 1;
}

/// log(exp(a) + exp(b)) with logaddexp(−∞, x) = x.
FULCRUM_HD inline double log_add_exp(double a, double b) {
  const double top = a > b ? a : b;
  if (top == -std::numeric_limits<double>::infinity()) return top;
  return top + std::log1p(std::exp(-std::abs(a - b)));
}

/// log σ(x).
FULCRUM_HD inline double log_sigmoid(double x) { return (x < 0 ? x : 0) - std::log1p(std::exp(-std::abs(x))); }

/// The moving average u of mean exp(l/λ), in logarithms.
struct KlAverage {
  double log_alpha, log_gamma, log_rest, log_step;
  bool start_from_zero, scent;

  explicit KlAverage(const KlOptions& o)
      : log_alpha(std::log(o.alpha)),
        log_gamma(std::log(o.gamma)),
        log_rest(std::log1p(-o.gamma)),
        log_step(o.log_step),
        start_from_zero(o.start_from_zero),
        scent(o.scent) {}

  /// log u after a batch with log mean exp(l/λ) = log_m.
  FULCRUM_HD double operator()(double log_u, double log_m) const {
    const double scaled = log_alpha + log_m;
    if (log_u == -std::numeric_limits<double>::infinity() && !start_from_zero) return scaled;
    if (!scent) return log_add_exp(log_rest + log_u, log_gamma + scaled);
    // SCENT is a moving average whose γ depends on u. Weights reach 1/(γα), so γα is kept above 1e-30 for a finite f32.
    const double share = log_sigmoid(log_step + log_u) + log_alpha, least = -69.07755278982137;  // log 1e-30
    return log_add_exp(log_sigmoid(-log_step - log_u) + log_u, (share > least ? share : least) + log_m);
  }
};

/// Returns the eta < 0 at which ½·mean((Bp−1)²) is rho, where p ∝ relu(d − eta) and d is the losses less the largest
/// one. least, mean, variance: those of d. divergence(eta): ½·mean((Bp−1)²), which increases with eta.
template <class Divergence>
FULCRUM_HD double solve_chi2_eta(double least, double mean, double variance, double rho, Divergence&& divergence) {
  // While every sample has weight, the divergence is ½·variance/(mean − eta)².
  const double all = mean - std::sqrt(variance / (2 * rho));
  if (all <= least) return all;
  double low = least, high = 0;
  for (int i = 0; i < 100; i++) {
    const double middle = low + (high - low) / 2;
    if (middle <= low || middle >= high) break;
    (divergence(middle) < rho ? low : high) = middle;
  }
  return low;
}

}  // namespace fulcrum
