#include <fulcrum/core/autograd.h>
#include <fulcrum/core/kernels.h>
#include <fulcrum/core/ops.h>
#include <fulcrum/optim/risk.h>
#include <fulcrum/optim/state.h>

#include <cmath>

namespace fulcrum {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Sets a number in device memory without waiting for the device.
void set_element(Tensor& t, int64_t index, double value) {
  Tensor element = t.slice(index, index + 1);
  dispatch(t, [&]<class K>() { K::fill(element, value); });
}

void check_lambda(double lambda, UUpdate update) {
  // 1/λ must be a finite f32.
  check(std::abs(lambda) >= 1e-30, "[risk] expected |lambda| >= 1e-30 (inf for plain SGD), got ", lambda);
  // With λ < 0, u may become so small that a step of SCENT no longer changes it, and the weights grow without bound.
  check(update != UUpdate::kScent || lambda > 0, "[risk] expected lambda > 0 with the update of SCENT, got ", lambda);
}

void check_gamma(double gamma, double alpha) {
  check(gamma > 0 && gamma <= 1, "[risk] expected gamma in (0, 1], got ", gamma);
  // Weights go up to 1/(γα), which must be a finite f32.
  check(gamma * alpha >= 1e-30, "[risk] expected gamma * alpha >= 1e-30, got ", gamma, " * ", alpha);
}

}  // namespace

void check_context(const char* op, const Tensor& losses, const BatchContext& context) {
  const auto check_one = [&](const char* name, const Tensor& t) {
    check(!t || (t.dtype() == DType::kI64 && t.shape() == losses.shape()), "[", op, "] ", name, ": expected i64 ",
          losses.shape(), ", one for each loss, got ", t ? t.dtype() : DType::kI64, " ", t ? t.shape() : Shape());
  };
  check_one("indices", context.indices);
  check_one("groups", context.groups);
}

Risk::Risk(Device device) : statistics_(zeros({kRiskStatisticsSize}, {DType::kF64, device})) {}

RiskSummary Risk::summary() const {
  const auto s = statistics_.to_vector();
  const double steps = s[kSteps];
  if (steps == 0) return {};
  return {s[kSumLogMean] / steps, s[kSumWeight] / steps, s[kSumEffective] / steps, static_cast<int64_t>(steps)};
}

void Risk::reset_summary() {
  dispatch(statistics_, [&]<class K>() { K::fill(statistics_, 0); });
}

void Risk::add_to_summary(const Tensor& weights) {
  const NoGrad no_grad;
  if (statistics_.device() != weights.device()) statistics_.rebind(statistics_.to(weights.device()));
  const Tensor p = weights.to(DType::kF64), total = sum(p), squares = sum(square(p));
  const Tensor finite = eq(squares - squares, 0);
  std::vector<Tensor> step(kRiskStatisticsSize, zeros_like(total));
  step[kSumWeight] = total;
  step[kSumEffective] = where(squares, square(total) / (static_cast<double>(p.numel()) * squares), 0.0);
  step[kSteps] = finite;
  for (Tensor& number : step) number = where(finite, number, 0.0);
  statistics_.copy_from(statistics_ + stack(step));
}

std::map<std::string, Tensor> Risk::state_dict() { return copies_of(state()); }

void Risk::load_state_dict(const std::map<std::string, Tensor>& given) {
  auto live = state();
  load_into(live, given, "risk", "risk");
}

Tensor Risk::like_losses(const Tensor& losses, const BatchContext& context) const {
  const Device device = statistics_.device();
  check(losses.dim() == 1 && (losses.dtype() == DType::kF32 || losses.dtype() == DType::kF64),
        "[risk] expected losses f32 or f64 [B], one per sample, got ", losses.dtype(), " ", losses.shape());
  check_context("risk", losses, context);
  check(losses.device() == device, "[risk] expected losses on ", device, " like the risk's state, got ",
        losses.device());
  check(!context.groups || context.groups.device() == device, "[risk] expected groups on ", device,
        " like the losses, got ", context.groups ? context.groups.device() : device);
  return empty(losses.shape(), options_of(losses));
}

MeanRisk::MeanRisk(MeanOptions options, Device device) : Risk(device), options_(std::move(options)) {}

Tensor MeanRisk::weights(const Tensor& losses, const BatchContext& context) {
  check(!options_.class_weight || (context.groups && context.groups.shape() == losses.shape()),
        "[risk] expected a group for each of the ", losses.numel(), " losses: the mean is normalised by class weights");
  Tensor p = like_losses(losses, options_.class_weight ? context : BatchContext{});
  const Tensor& w = options_.class_weight;
  check(!w || (w.dim() == 1 && w.dtype() == DType::kF32 && w.device() == losses.device()),
        "[risk] expected class weights f32 [C] on ", losses.device(), " like the losses, got ",
        w ? w.dtype() : DType::kF32, " ", w ? w.shape() : Shape(), " on ", w ? w.device() : losses.device());
  dispatch(losses, [&]<class K>() { K::mean_weights(p, statistics_, losses, w, context.groups); });
  return p;
}

KlRisk::KlRisk(const KlRiskOptions& o, Device device)
    : Risk(device), options_(o), state_(zeros({kKlStateSize}, {DType::kF64, device})) {
  check_lambda(o.lambda, o.u_update);
  check(o.alpha > 0 && std::isfinite(o.alpha), "[risk] expected alpha > 0, got ", o.alpha);
  check_gamma(o.gamma, o.alpha);
  check(o.additive >= 0 && o.additive <= 1e30, "[risk] expected additive >= 0 and at most 1e30, got ", o.additive);
  const bool scent = o.u_update == UUpdate::kScent;
  check(std::isfinite(o.log_step), "[risk] expected a finite log_step, got ", o.log_step);
  check(!scent || o.u_init == UInit::kFirstBatch,
        "[risk] expected u to start by the first batch with the update of SCENT");
  kernel_options_ = {o.gamma, o.alpha, o.additive, o.u_init == UInit::kZero, scent, o.log_step};
  set_element(state_, kLogU, -kInfinity);
  set_element(state_, kInvLambda, 1 / o.lambda);
}

Tensor KlRisk::weights(const Tensor& losses, const BatchContext&) {
  Tensor p = like_losses(losses);
  dispatch(losses, [&]<class K>() { K::kl_weights(p, state_, statistics_, losses, kernel_options_); });
  return p;
}

std::map<std::string, Tensor> KlRisk::state() {
  auto state = Risk::state();
  state["kl"] = state_;
  return state;
}

// Read from the state rather than the options, so that a loaded checkpoint restores its λ.
double KlRisk::lambda() const { return 1 / state_.to_vector()[kInvLambda]; }
double KlRisk::log_u() const { return state_.to_vector()[kLogU]; }

void KlRisk::set_gamma(double gamma) {
  check_gamma(gamma, options_.alpha);
  kernel_options_.gamma = gamma;
}

void KlRisk::set_lambda(double lambda) {
  check_lambda(lambda, options_.u_update);
  // Compared as 1/λ, which is what the state holds: 1/(1/λ) is not always λ.
  const double previous = state_.to_vector()[kInvLambda];
  if (1 / lambda == previous) return;
  set_element(state_, kInvLambda, 1 / lambda);
  if (previous != 0 && !options_.keep_u) set_element(state_, kLogU, -kInfinity);
}

}  // namespace fulcrum
