// The weights of risks as docs/method.md has them, in long double and as plainly as can be: what the kernels are
// compared with.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <numeric>

#include <fulcrum/optim/risk.h>

#include "risk_testing.h"

namespace fulcrum::testing {

/// log(eᵃ + eᵇ).
inline long double log_add(long double a, long double b) {
  if (std::isinf(a) && a < 0) return b;
  return std::max(a, b) + std::log1p(std::exp(-std::abs(a - b)));
}

/// (5) and (5a), every weight from its own logarithm.
struct KlReference {
  KlRiskOptions o;
  long double log_u = -std::numeric_limits<long double>::infinity();
  long double log_m = 0;
  /// The share of the last batch in u: at the start 1, or γ where u starts from 0.
  long double share = 1;

  Values weights(const Values& losses) {
    const auto batch = static_cast<long double>(losses.size());
    const long double inv = 1.0L / static_cast<long double>(o.lambda);
    log_m = -std::numeric_limits<long double>::infinity();
    for (double l : losses) log_m = log_add(log_m, static_cast<long double>(l) * inv);
    log_m -= std::log(batch);
    const long double scaled = std::log(static_cast<long double>(o.alpha)) + log_m;
    const bool fresh = std::isinf(log_u);
    share = step();
    log_u = fresh ? std::log(share) + scaled : log_add(log_rest() + log_u, std::log(share) + scaled);
    Values p;
    for (double l : losses)
      p.push_back(static_cast<double>(std::exp(static_cast<long double>(l) * inv - log_u) / batch +
                                      static_cast<long double>(o.additive) / batch));
    return p;
  }

 private:
  long double step() const {
    if (std::isinf(log_u) && o.u_init == UInit::kFirstBatch) return 1;
    if (o.u_update == UUpdate::kMovingAverage) return static_cast<long double>(o.gamma);
    const long double share = std::exp(-log_add(0, -static_cast<long double>(o.log_step) - log_u));
    return std::max(1e-30L / static_cast<long double>(o.alpha), share);
  }
  // log(1 − γ), where u may be so large that SCENT's γ is 1 but for what a long double has no digits for.
  long double log_rest() const {
    if (o.u_update == UUpdate::kScent) return -log_add(0, static_cast<long double>(o.log_step) + log_u);
    return std::log1p(-static_cast<long double>(o.gamma));
  }
};

/// One sample after the other, from the largest: each takes 1/(cB) until 1 is given away; equal losses share.
inline Values cvar_reference(const Values& l, double level) {
  std::map<double, double, std::greater<>> count, share;
  for (double v : l) count[v]++;
  double left = 1;
  for (const auto& [v, n] : count) {
    const double wanted = n / (level * static_cast<double>(l.size()));
    share[v] = std::min(left, wanted) / n;
    left -= std::min(left, wanted);
  }
  Values p;
  for (double v : l) p.push_back(share[v]);
  return p;
}

/// Exact: for each number k of active samples the divergence is a quadratic equation for η. O(B²).
inline Values chi2_reference(const Values& l, double rho) {
  Values sorted = l;
  std::ranges::sort(sorted, std::greater<>());
  const auto size = static_cast<long double>(l.size());
  const auto ties = std::ranges::count(sorted, sorted[0]);
  const auto weights = [&](auto r) {
    long double sum = 0;
    Values p;
    for (double v : l) sum += r(v);
    for (double v : l) p.push_back(static_cast<double>(r(v) / sum));
    return p;
  };
  if (static_cast<long double>(rho) >= (size / static_cast<long double>(ties) - 1) / 2)
    return weights([&](double v) { return v == sorted[0] ? 1.0L : 0.0L; });
  for (size_t k = l.size(); k > 0; k--) {
    // B·Σr²/(Σr)² = 1 + 2ρ with r = l − η over the k largest: with mean m and variance s of those,
    // (B/k)(s/(m−η)² + 1) = 1 + 2ρ.
    const auto n = static_cast<long double>(k);
    long double mean = 0, variance = 0;
    for (size_t i = 0; i < k; i++) mean += static_cast<long double>(sorted[i]) / n;
    for (size_t i = 0; i < k; i++) variance += std::pow(static_cast<long double>(sorted[i]) - mean, 2.0L) / n;
    const long double excess = (1 + 2 * static_cast<long double>(rho)) * n / size - 1;
    if (excess <= 0) continue;
    const long double eta = mean - std::sqrt(variance / excess);
    const bool rest_is_below = k == l.size() || static_cast<long double>(sorted[k]) <= eta;
    if (static_cast<long double>(sorted[k - 1]) >= eta && rest_is_below)
      return weights([&](double v) { return std::max(0.0L, static_cast<long double>(v) - eta); });
  }
  ADD_FAILURE() << "no solution for rho " << rho;
  return Values(l.size());
}

/// exp(min(l, τ)/(τ + 1))/B.
inline Values rgd_reference(const Values& l, double tau) {
  Values p;
  for (double v : l) p.push_back(std::exp(std::min(v, tau) / (tau + 1)) / static_cast<double>(l.size()));
  return p;
}

}  // namespace fulcrum::testing
