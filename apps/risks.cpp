#include "apps/risks.h"

#include <cmath>
#include <numbers>

#include "apps/image_sets.h"
#include "apps/ranges.h"

namespace fulcrum::apps {

namespace {

nlohmann::json finite_or_null(double v) { return std::isfinite(v) ? nlohmann::json(v) : nlohmann::json(); }

// Whether large losses are emphasised (1), small ones (−1), or neither (0).
int emphasis(const RiskSettings& r) {
  if (r.name == "mean") return 0;
  if (r.name == "kl") return std::isinf(r.lambda) ? 0 : r.lambda > 0 ? 1 : -1;
  if (r.name == "kl_ball") return r.sign == "positive" ? 1 : -1;
  return 1;
}

// Whether labels are made wrong by the settings, or known to be wrong in the data set.
bool has_wrong_labels(const DataSettings& d) {
  return d.noise_type == "matrix" || (d.noise_type != "none" && d.noise_rate > 0) || known_of_labels(d).wrong;
}

bool is_long_tailed(const DataSettings& d) {
  return known_of_labels(d).long_tailed || (d.imb_type != "none" && d.imb_factor < 1);
}

void check_ranges(const RiskSettings& r) {
  one_of("risk.normalize", r.normalize, {"weights", "batch"});
  one_of("risk.u_init", r.u_init, {"first_batch", "zero"});
  one_of("risk.u_update", r.u_update, {"average", "scent"});
  one_of("risk.sign", r.sign, {"positive", "negative"});
  if (!(std::abs(r.lambda) >= 1e-30))
    usage("risk.lambda: expected a number outside (-1e-30, 1e-30), inf for plain SGD; got ", r.lambda);
  in_range("risk.gamma", r.gamma, 0, 1, "(0, 1]");
  in_range("risk.alpha", r.alpha, 0, kInfinity, "(0, inf)");
  if (r.gamma * r.alpha < 1e-30)  // weights can be as large as its inverse
    usage("risk.gamma, risk.alpha: expected a product of at least 1e-30, got ", r.gamma, " * ", r.alpha);
  in_range("risk.additive", r.additive, 0, 1e30, "[0, 1e30]");
  in_range("risk.log_step", r.log_step, -kInfinity, kInfinity, "(-inf, inf)");
  in_range("risk.cvar_level", r.cvar_level, 0, 1, "(0, 1]");
  in_range("risk.rho", r.rho, 0, kInfinity, "(0, inf)");
  in_range("risk.tau", r.tau, 0, kInfinity, "[0, inf)");
  in_range("risk.eta", r.eta, 0, kInfinity, "[0, inf)");
  in_range("risk.group_adjustment", r.group_adjustment, 0, kInfinity, "[0, inf)");
  in_range("risk.target_fraction", r.target_fraction, 0, 1, "[0, 1)");
  count("risk.window", r.window, 1);
  count("risk.solve_every", r.solve_every, 1);
  count("risk.from_epoch", r.from_epoch, 0);
}

KlRiskOptions kl_options(const RiskSettings& r) {
  return {r.lambda,
          r.gamma,
          r.alpha,
          r.additive,
          r.u_init == "zero" ? UInit::kZero : UInit::kFirstBatch,
          r.keep_u,
          r.u_update == "scent" ? UUpdate::kScent : UUpdate::kMovingAverage,
          r.log_step};
}

KlBallRiskOptions ball_options(const RiskSettings& r) {
  return {.rho = r.target_fraction > 0 ? 0 : r.rho,
          .fraction = r.target_fraction,
          .positive = r.sign == "positive",
          .window = r.window,
          .every = r.solve_every};
}

std::unique_ptr<Risk> risk_of(const RiskSettings& r, const std::vector<int64_t>& counts, Device device) {
  if (r.name == "cvar") return std::make_unique<CvarRisk>(r.cvar_level, device);
  if (r.name == "chi2") return std::make_unique<Chi2Risk>(r.rho, device);
  if (r.name == "rgd") return std::make_unique<RgdRisk>(r.tau, device);
  if (r.name == "group")
    return std::make_unique<GroupRisk>(GroupRiskOptions{std::ssize(counts), r.eta, r.group_adjustment, counts}, device);
  if (r.name == "kl_ball") return std::make_unique<KlBallRisk>(ball_options(r), device);
  return std::make_unique<MeanRisk>(MeanOptions{}, device);
}

}  // namespace

void finish_risk(Config& c) {
  RiskSettings& r = c.risk;
  one_of("risk.name", r.name, {"mean", "kl", "tilted", "cvar", "chi2", "rgd", "group", "kl_ball"});
  check_ranges(r);
  if (r.name == "tilted") {
    if (r.gamma != RiskSettings().gamma) check_gamma_of_tilted(r.gamma);
    r.name = "kl";
    r.gamma = 1;
  }
  if (r.name == "kl" && r.u_update == "scent") {
    if (r.lambda < 0) usage("risk.lambda: expected a positive number with risk.u_update = scent, got ", r.lambda);
    if (r.u_init == "zero") usage("risk.u_init: expected first_batch with risk.u_update = scent, got 'zero'");
  }
  if (r.name == "kl_ball" && r.window < c.train.batch_size)
    usage("risk.window: expected at least train.batch_size = ", c.train.batch_size, ", got ", r.window);
}

void refuse_risk_beside(const std::string& optimizer, const std::string& risk) {
  usage("optim.name: ", optimizer, " is ", optimizer.substr(2), " with risk.name = kl, got risk.name = ", risk);
}

void check_gamma_of_tilted(double gamma) {
  if (gamma != 1) usage("risk.gamma: tilted is kl with gamma = 1, got ", gamma);
}

std::vector<std::string> risk_warnings(const Config& c) {
  const RiskSettings& r = c.risk;
  const int heard = emphasis(r);
  const std::string what = r.name == "kl"        ? concat_text("risk.lambda = ", r.lambda)
                           : r.name == "kl_ball" ? "risk.sign = " + r.sign
                                                 : "risk.name = " + r.name;
  const bool noise = has_wrong_labels(c.data), imbalanced = is_long_tailed(c.data);
  if (heard > 0 && noise)
    return {what +
            " raises the weight of samples with a large loss; with label noise those are mostly the wrong labels, "
            "which a negative lambda would lower"};
  if (heard < 0 && imbalanced && !noise)
    return {what +
            " lowers the weight of samples with a large loss; on imbalanced data without label noise those are "
            "mostly the rare classes, which a positive lambda would raise"};
  return {};
}

bool hears_small_losses(const RiskSettings& risk) { return emphasis(risk) < 0; }

std::unique_ptr<Risk> make_risk(const Config& c, const std::vector<int64_t>& counts) {
  const RiskSettings& r = c.risk;
  const Device device(c.train.device);
  if (r.name == "kl") return std::make_unique<KlRisk>(kl_options(r), device);
  std::unique_ptr<Risk> risk = risk_of(r, counts, device);
  if (r.from_epoch > 0 && r.name != "mean") return std::make_unique<DeferredRisk>(std::move(risk));
  return risk;
}

void begin_risk_epoch(Risk& risk, const Config& c, int64_t epoch, const Tensor& class_weight) {
  const RiskSettings& r = c.risk;
  if (auto* kl = dynamic_cast<KlRisk*>(&risk)) {
    kl->set_lambda(epoch >= r.from_epoch ? r.lambda : kInfinity);
    const double done = static_cast<double>(epoch) / static_cast<double>(c.train.epochs);
    if (r.anneal_gamma) kl->set_gamma(r.gamma + (1 - r.gamma) * 0.5 * (1 + std::cos(std::numbers::pi * done)));
  }
  if (auto* deferred = dynamic_cast<DeferredRisk*>(&risk)) deferred->set_active(epoch >= r.from_epoch);
  auto* mean = dynamic_cast<MeanRisk*>(&risk);
  if (mean && class_weight && r.normalize == "weights") mean->set_class_weight(class_weight);
}

nlohmann::json risk_readings(Risk& risk) {
  nlohmann::json row = nlohmann::json::object();
  Risk* inner = &risk;
  if (auto* deferred = dynamic_cast<DeferredRisk*>(inner)) inner = &deferred->risk();
  if (auto* kl = dynamic_cast<KlRisk*>(inner)) {
    const double lambda = kl->lambda();
    row["inv_lambda"] = 1 / lambda;
    row["log_u"] = finite_or_null(kl->log_u());
    row["kl_objective"] = finite_or_null(lambda * risk.summary().log_mean_exp);
  }
  if (auto* ball = dynamic_cast<KlBallRisk*>(inner)) {
    row["inv_lambda"] = 1 / ball->lambda();
    row["log_u"] = finite_or_null(ball->log_u());
  }
  if (dynamic_cast<MeanRisk*>(inner)) row["inv_lambda"] = 0;
  if (auto* group = dynamic_cast<GroupRisk*>(inner)) row["group_weight"] = group->group_weights();
  return row;
}

}  // namespace fulcrum::apps
