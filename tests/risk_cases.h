// Cases for the property tests of risks: batches of losses and risks, drawn by the number of the case, so that a
// failure names what to draw again.
//
//   Draws draws(17);                                      // case 17
//   const RiskCase c = draw_risk(draws, draw_size(draws));
//   const auto risk = c.make(Device());
//   const Tensor losses = as_losses(draw_losses(draws, c.batch), draws.dtype());
#pragma once

#include <cmath>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>

#include <fulcrum/core/random.h>
#include <fulcrum/optim/risks.h>

#include "risk_testing.h"

namespace fulcrum::testing {

inline constexpr int64_t kMostLosses = 4096;
inline constexpr double kLargestLoss = 1e4;

class Draws {
 public:
  explicit Draws(int number) : philox_(kSeed, (uint64_t{1} << 40) + static_cast<uint64_t>(number)) {}

  uint32_t below(uint32_t n) { return philox_.below(at_++, n); }
  bool chance(double share) { return uniform(0, 1) < share; }
  double uniform(double low, double high) { return low + (high - low) * static_cast<double>(philox_.uniform(at_++)); }
  double log_uniform(double low, double high) { return std::exp(uniform(std::log(low), std::log(high))); }
  template <class T>
  T one_of(std::initializer_list<T> list) {
    return list.begin()[below(static_cast<uint32_t>(list.size()))];
  }
  DType dtype() { return one_of({DType::kF32, DType::kF64}); }  // of losses: f32 in a bf16 run, too

 private:
  Philox philox_;
  uint64_t at_ = 0;
};

/// From 1 to 4096, as many small as large ones.
inline int64_t draw_size(Draws& d, int64_t most = kMostLosses) {
  if (d.chance(0.1)) return d.one_of({int64_t{1}, most});
  return static_cast<int64_t>(d.log_uniform(1, static_cast<double>(most) + 0.99));
}

/// Losses in [0, 1e4], of the kinds that have gone wrong for somebody.
inline Values draw_losses(Draws& d, int64_t batch) {
  const double scale = d.log_uniform(1e-4, kLargestLoss);
  const auto all = [&](auto one) {
    Values l(static_cast<size_t>(batch));
    std::ranges::generate(l, one);
    return l;
  };
  switch (d.below(8)) {
    case 0: return all([value = d.one_of({0.0, 1.0, kLargestLoss}) * d.uniform(0, 1)] { return value; });
    case 1: return all([&] { return d.below(5) * scale / 4; });                                // ties
    case 2: return all([&] { return d.log_uniform(1e-6, kLargestLoss); });                     // every magnitude
    case 3: return all([&] { return kLargestLoss - d.uniform(0, scale); });                    // far from 0
    case 4: return all([&] { return d.below(200) == 0 ? kLargestLoss : d.uniform(0, 0.1); });  // outliers
    default: return all([&] { return d.uniform(0, scale); });
  }
}

inline Tensor as_losses(const Values& l, DType dtype, Device device = {}) { return vector_of(l).to(dtype).to(device); }

/// λ in ±[1e-6, 1e6].
inline double draw_lambda(Draws& d) {
  const double magnitude = d.chance(0.2) ? d.one_of({1e-6, 1.0, 1e6}) : d.log_uniform(1e-6, 1e6);
  return d.chance(0.5) ? magnitude : -magnitude;
}

/// γ in (0, 1], near both ends as often as between.
inline double draw_gamma(Draws& d) {
  switch (d.below(4)) {
    case 0: return d.log_uniform(1e-12, 1);
    case 1: return 1 - d.log_uniform(1e-12, 1);
    case 2: return d.one_of({1e-12, 0.5, 0.9, 1.0});
    default: return d.uniform(0.01, 1);
  }
}

inline KlRiskOptions draw_kl(Draws& d) {
  KlRiskOptions o{.lambda = draw_lambda(d), .gamma = draw_gamma(d)};
  if (d.chance(0.3)) o.alpha = d.log_uniform(1e-3, 10);
  if (d.chance(0.3)) o.additive = 1;
  if (d.chance(0.3)) {
    o.u_update = UUpdate::kScent;
    o.lambda = std::abs(o.lambda);
    o.log_step = d.uniform(-20, 20);
  } else if (d.chance(0.5)) {
    o.u_init = UInit::kZero;
  }
  return o;
}

inline std::string text_of(const KlRiskOptions& o) {
  return concat_text("kl λ ", o.lambda, " γ ", o.gamma, " α ", o.alpha, " additive ", o.additive,
                     o.u_init == UInit::kZero ? " from zero" : "",
                     o.u_update == UUpdate::kScent ? concat_text(" scent ", o.log_step) : "");
}

/// A risk, and what is promised of its weights.
struct RiskCase {
  std::string text;
  std::function<std::unique_ptr<Risk>(Device)> make;
  int64_t batch;
  int order = 0;  // 1: a larger loss weighs no less; −1: no more; 0: nothing, but within a group the same
  double least = 0, most = 1;  // of Σp
  bool shifts = false;         // a number added to every loss changes nothing
  bool scales = false;         // nor does a factor, with λ multiplied by it, too: make_scaled
  std::function<std::unique_ptr<Risk>(double)> make_scaled = {};
  int64_t groups = 1;
  double lambda = kInfinity;
  double solver = 0;  // relative error of what is solved for, or remembered as a logarithm
};

/// Relative error of a weight from one order of summation to another. exp(l/λ − log u): where l/λ is 1e10, f64 keeps
/// few digits of a difference.
inline double rounding(DType dtype, double lambda = kInfinity, double largest = kLargestLoss) {
  return (dtype == DType::kF64 ? 1e-13 : 2e-6) + 16 * 0x1p-52 * largest / std::abs(lambda);
}
inline double rounding(const RiskCase& c, DType dtype) { return rounding(dtype, c.lambda) + c.solver; }

inline RiskCase kl_case(const KlRiskOptions& o, int64_t batch) {
  const bool scent = o.u_update == UUpdate::kScent;
  // u ≥ γαm after every update, and SCENT's γ is at least that of the least u there can be, α.
  const double least_gamma = scent ? 1 / (1 + std::exp(-o.log_step) / o.alpha) : o.gamma;
  return {.text = text_of(o),
          .make = [o](Device device) { return std::make_unique<KlRisk>(o, device); },
          .batch = batch,
          .order = o.lambda > 0 ? 1 : -1,
          .most = 1 / (least_gamma * o.alpha) + o.additive,
          .shifts = !scent,
          .scales = true,
          .make_scaled =
              [o](double factor) {
                KlRiskOptions scaled = o;
                scaled.lambda *= factor;
                return std::make_unique<KlRisk>(scaled);
              },
          .lambda = o.lambda};
}

inline RiskCase kl_ball_case(Draws& d, int64_t batch) {
  // A whole number of batches: of one that is half forgotten, the order of the samples says which half.
  KlBallRiskOptions o{.positive = d.chance(0.5), .window = batch * d.one_of({1, 2, 3}), .every = d.one_of({1, 2})};
  (d.chance(0.5) ? o.fraction : o.rho) = d.log_uniform(1e-3, 0.99);
  const auto make = [o](auto...) { return std::make_unique<KlBallRisk>(o); };
  return {.text = concat_text("kl_ball ρ ", o.rho, " fraction ", o.fraction, " positive ", o.positive, " window ",
                              o.window),
          .make = [o](Device device) { return std::make_unique<KlBallRisk>(o, device); },
          .batch = batch,
          .order = o.positive ? 1 : -1,
          .most = static_cast<double>(o.window) / static_cast<double>(batch),
          .shifts = true,
          .scales = true,
          .make_scaled = make,
          .solver = 1e-6};
}

/// Any risk.
inline RiskCase draw_risk(Draws& d, int64_t batch) {
  switch (d.below(7)) {
    case 0: return kl_case(draw_kl(d), batch);
    case 1: return kl_ball_case(d, batch);
    case 2: {
      const double level = d.chance(0.2) ? 1 : d.log_uniform(1e-4, 1);
      return {.text = concat_text("cvar ", level),
              .make = [level](Device device) { return std::make_unique<CvarRisk>(level, device); },
              .batch = batch,
              .order = 1,
              .least = 1,
              .shifts = true,
              .scales = true,
              .make_scaled = [level](double) { return std::make_unique<CvarRisk>(level); }};
    }
    case 3: {
      const double rho = d.log_uniform(1e-6, 1e4);
      return {.text = concat_text("chi2 ", rho),
              .make = [rho](Device device) { return std::make_unique<Chi2Risk>(rho, device); },
              .batch = batch,
              .order = 1,
              .least = 1,
              .shifts = true,
              .scales = true,
              .make_scaled = [rho](double) { return std::make_unique<Chi2Risk>(rho); }};
    }
    case 4: {
      const double tau = d.chance(0.2) ? 0 : d.log_uniform(1e-3, 1e3);
      return {.text = concat_text("rgd ", tau),
              .make = [tau](Device device) { return std::make_unique<RgdRisk>(tau, device); },
              .batch = batch,
              .order = 1,
              .least = 1,
              .most = std::exp(1.0)};
    }
    case 5: {
      const GroupRiskOptions o{.groups = 1 + d.below(12), .eta = d.log_uniform(1e-6, 1e3)};
      return {.text = concat_text("group ", o.groups, " η ", o.eta),
              .make = [o](Device device) { return std::make_unique<GroupRisk>(o, device); },
              .batch = batch,
              .groups = o.groups,
              .solver = 1e-7};
    }
    default:
      return {.text = "mean",
              .make = [](Device device) { return std::make_unique<MeanRisk>(MeanOptions{}, device); },
              .batch = batch,
              .least = 1,
              .shifts = true,
              .scales = true,
              .make_scaled = [](double) { return std::make_unique<MeanRisk>(); }};
  }
}

inline std::vector<int64_t> draw_groups(Draws& d, const RiskCase& c) {
  std::vector<int64_t> groups(static_cast<size_t>(c.batch));
  for (int64_t& g : groups) g = d.below(static_cast<uint32_t>(c.groups));
  return groups;
}

}  // namespace fulcrum::testing
