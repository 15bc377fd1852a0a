#include <fulcrum/core/kernels.h>
#include <fulcrum/optim/risks.h>

#include <cmath>

namespace fulcrum {

CvarRisk::CvarRisk(double level, Device device) : Risk(device), level_(level) {
  check(level > 0 && level <= 1, "[risk] expected a CVaR level in (0, 1], got ", level);
}

Tensor CvarRisk::weights(const Tensor& losses, const BatchContext&) {
  Tensor p = like_losses(losses);
  dispatch(losses, [&]<class K>() { K::cvar_weights(p, statistics_, losses, level_); });
  return p;
}

Chi2Risk::Chi2Risk(double rho, Device device) : Risk(device), rho_(rho) {
  check(rho > 0 && std::isfinite(rho), "[risk] expected rho > 0 of chi2, got ", rho);
}

Tensor Chi2Risk::weights(const Tensor& losses, const BatchContext&) {
  Tensor p = like_losses(losses);
  dispatch(losses, [&]<class K>() { K::chi2_weights(p, statistics_, losses, rho_); });
  return p;
}

RgdRisk::RgdRisk(double tau, Device device) : Risk(device), tau_(tau) {
  check(tau >= 0 && std::isfinite(tau), "[risk] expected tau >= 0 of rgd, got ", tau);
}

Tensor RgdRisk::weights(const Tensor& losses, const BatchContext&) {
  Tensor p = like_losses(losses);
  dispatch(losses, [&]<class K>() { K::rgd_weights(p, statistics_, losses, tau_); });
  return p;
}

GroupRisk::GroupRisk(const GroupRiskOptions& o, Device device) : Risk(device), eta_(o.eta) {
  check(o.groups > 0, "[risk] expected at least one group, got ", o.groups);
  check(o.eta >= 0 && std::isfinite(o.eta), "[risk] expected eta >= 0 of group, got ", o.eta);
  log_q_ = full({o.groups}, -std::log(static_cast<double>(o.groups)), {DType::kF64, device});
  check(o.adjustment >= 0 && std::isfinite(o.adjustment), "[risk] expected an adjustment >= 0 of group, got ",
        o.adjustment);
  if (o.adjustment == 0) return;
  check(std::ssize(o.counts) == o.groups, "[risk] expected the counts of ", o.groups,
        " groups for the adjustment, got ", o.counts.size());
  std::vector<double> shift;
  for (const int64_t n : o.counts)
    shift.push_back(n > 0 ? o.eta * o.adjustment / std::sqrt(static_cast<double>(n)) : 0);
  shift_ = from_vector({o.groups}, shift, {DType::kF64, device});
}

Tensor GroupRisk::weights(const Tensor& losses, const BatchContext& context) {
  check(context.groups && context.groups.shape() == losses.shape(), "[risk] expected a group for each of the ",
        losses.numel(), " losses");
  Tensor p = like_losses(losses, context);
  dispatch(losses, [&]<class K>() { K::group_weights(p, log_q_, statistics_, losses, context.groups, shift_, eta_); });
  return p;
}

std::map<std::string, Tensor> GroupRisk::state() {
  auto state = Risk::state();
  state["log_q"] = log_q_;
  return state;
}

std::vector<double> GroupRisk::group_weights() const {
  auto q = log_q_.to_vector();
  for (double& v : q) v = std::exp(v);
  return q;
}

KlBallRisk::KlBallRisk(const KlBallRiskOptions& o, Device device) : Risk(device) {
  check((o.rho == 0) != (o.fraction == 0), "[risk] expected either rho or fraction of the KL ball, got ", o.rho,
        " and ", o.fraction);
  check(o.rho >= 0 && std::isfinite(o.rho), "[risk] expected rho > 0 of the KL ball, got ", o.rho);
  check(o.fraction >= 0 && o.fraction < 1, "[risk] expected fraction in (0, 1) of the KL ball, got ", o.fraction);
  check(o.window > 0 && o.every > 0, "[risk] expected window and every of at least 1, got ", o.window, " and ",
        o.every);
  options_ = {o.positive, o.fraction > 0, o.fraction > 0 ? o.fraction : o.rho, o.every};
  state_ = zeros({kKlBallStateSize}, {DType::kF64, device});
  window_ = zeros({o.window}, {DType::kF64, device});
}

Tensor KlBallRisk::weights(const Tensor& losses, const BatchContext&) {
  // A loss outside the window could get an unbounded weight.
  check(losses.numel() <= window_.numel(), "[risk] expected a window of at least a batch, ", losses.numel(),
        " losses, got ", window_.numel());
  Tensor p = like_losses(losses);
  dispatch(losses, [&]<class K>() { K::kl_ball_weights(p, state_, window_, statistics_, losses, options_); });
  return p;
}

std::map<std::string, Tensor> KlBallRisk::state() {
  auto state = Risk::state();
  state["kl_ball"] = state_;
  state["window"] = window_;
  return state;
}

double KlBallRisk::lambda() const {
  const double inv = state_.to_vector()[kInvLambda];
  return inv == 0 ? std::copysign(std::numeric_limits<double>::infinity(), options_.positive ? 1 : -1) : 1 / inv;
}
double KlBallRisk::log_u() const { return state_.to_vector()[kLogU]; }

namespace {
Device device_of(const std::unique_ptr<Risk>& risk) {
  check(risk != nullptr, "[risk] expected a risk to defer, got none");
  return risk->state().at("statistics").device();
}
}  // namespace

DeferredRisk::DeferredRisk(std::unique_ptr<Risk> risk) : Risk(device_of(risk)), risk_(std::move(risk)) {
  statistics_ = risk_->state().at("statistics");
}

Tensor DeferredRisk::weights(const Tensor& losses, const BatchContext& context) {
  if (active_) return risk_->weights(losses, context);
  Tensor p = like_losses(losses);
  dispatch(losses, [&]<class K>() { K::mean_weights(p, statistics_, losses, {}, {}); });
  return p;
}

}  // namespace fulcrum
