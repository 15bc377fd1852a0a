#include <fulcrum/optim/optimizer.h>

#include <algorithm>
#include <cmath>
#include <set>

#include <fulcrum/core/autograd.h>
#include <fulcrum/core/kernels.h>
#include <fulcrum/core/ops.h>
#include <fulcrum/core/profile.h>
#include <fulcrum/optim/state.h>

namespace fulcrum {

namespace {

std::vector<ParamGroup> one_group(std::vector<Tensor> parameters) {
  std::vector<ParamGroup> groups(1);
  groups[0].parameters = std::move(parameters);
  return groups;
}

void check_positive(const char* what, double value, bool zero_allowed) {
  check(std::isfinite(value) && (value > 0 || (zero_allowed && value == 0)), "[optimizer] expected ", what,
        zero_allowed ? " >= 0" : " > 0", ", got ", value);
}

Segments make_segments(const std::vector<ParamGroup>& groups, const Arena& arena, Device device) {
  struct Part {
    int64_t offset, size;
    size_t group;
  };
  std::vector<Part> parts;
  for (size_t g = 0; g < groups.size(); g++)
    for (const Tensor& p : groups[g].parameters) parts.push_back({arena.offsets[parts.size()], p.numel(), g});
  std::ranges::sort(parts, {}, &Part::offset);  // a group's parameters may lie anywhere in the arena
  std::vector<int64_t> offset, size;
  std::vector<double> group;
  for (const Part& p : parts) {
    offset.push_back(p.offset);
    size.push_back(p.size);
    group.push_back(static_cast<double>(p.group));
  }
  const Shape shape{static_cast<int64_t>(offset.size())};
  Segments s;
  s.offset = from_vector(shape, offset, device);
  s.size = from_vector(shape, size, device);
  s.group = from_vector(shape, group, {DType::kI32, device});
  s.hyper = zeros({static_cast<int64_t>(groups.size()), 2}, {DType::kF64, device});
  return s;
}

}  // namespace

Optimizer::Optimizer(std::vector<ParamGroup> groups, double lr, double weight_decay, double max_norm)
    : groups_(std::move(groups)), lr_(lr), weight_decay_(weight_decay), max_norm_(max_norm) {
  check(!std::isnan(lr), "[optimizer] expected a learning rate: options.lr has no default");
  check_positive("weight_decay", weight_decay, true);
  check_positive("max_norm", max_norm, true);
  std::set<const Node*> seen;
  std::optional<DType> twin;
  for (const ParamGroup& g : groups_) {
    check_positive("lr_scale of a group", g.lr_scale, true);
    if (g.weight_decay) check_positive("weight_decay of a group", *g.weight_decay, true);
    for (const Tensor& p : g.parameters) {
      check(p.defined(), "[optimizer] expected parameters, got an undefined tensor as number ", parameters_.size());
      check(p.requires_grad() && p.node()->is_leaf(), "[optimizer] expected leaves that require a gradient, got ",
            p.shape(), " as number ", parameters_.size(),
            p.node() && !p.node()->is_leaf() ? ", the result of an op" : " without one");
      check(seen.insert(p.node().get()).second, "[optimizer] expected every parameter once, got one ", p.shape(),
            " twice");
      parameters_.push_back(p);
      const Tensor& first = parameters_.front();
      check(p.dtype() == first.dtype() && p.device() == first.device(),
            "[optimizer] expected parameters of one dtype on one device, got ", first.dtype(), " on ", first.device(),
            " and ", p.dtype(), " on ", p.device());
      if (p.node()->twin.defined()) twin = p.node()->twin.dtype();
    }
  }
  check(!parameters_.empty(), "[optimizer] expected at least one parameter");
  const Tensor& first = parameters_[0];
  if (const std::optional<Arena> held = Arena::holding(parameters_)) {
    arena_ = *held;
  } else {
    std::vector<Tensor> before;
    for (const Tensor& p : parameters_) before.push_back(p.grad());
    arena_ = Arena::lay_out(parameters_, options_of(first), twin);
    for (size_t i = 0; i < before.size(); i++)
      if (before[i]) parameters_[i].grad().copy_from(before[i]);
  }
  runs_ = arena_.runs(parameters_);
  segments_ = make_segments(groups_, arena_, first.device());
  control_ = zeros({kControlSize}, {DType::kF64, first.device()});
  risk_ = std::make_unique<MeanRisk>(MeanOptions{}, first.device());
  set_lr(lr);
}

Tensor Optimizer::weigh(const Tensor& losses, const BatchContext& context) {
  check(losses.dim() == 1 && losses.dtype() == arena_.values.dtype(), "[weigh] expected losses ", arena_.values.dtype(),
        " [B], one per sample, got ", losses.dtype(), " ", losses.shape());
  check(losses.device() == arena_.values.device(), "[weigh] expected losses on ", arena_.values.device(),
        " like the parameters, got ", losses.device());
  check_context("weigh", losses, context);
  batch_ = communicator_ ? gathered(losses.detach(), context) : WeighedBatch{losses.detach(), {}, context};
  batch_.weights = risk_->weights(batch_.losses, batch_.context);
  check(batch_.weights.defined() && batch_.weights.shape() == batch_.losses.shape() &&
            batch_.weights.dtype() == batch_.losses.dtype(),
        "[weigh] expected weights ", batch_.losses.dtype(), " ", batch_.losses.shape(), " from the risk '",
        risk_->name(), "', got ", batch_.weights);
  batch_.weights = batch_.weights.detach();  // a risk may compute them from tensors that require a gradient
  weights_ = communicator_ ? own_part(batch_.weights, losses.numel()) : batch_.weights;
  dispatch(losses, [&]<class K>() { K::check_finite(control_, batch_.losses); });
  profile_work({.bytes = static_cast<double>(batch_.losses.bytes() + batch_.weights.bytes())});
  profile_mark("weights");
  // Record a single node: the gradient of a loss is its weight. sum(mul(…)) would take four steps in the backward pass.
  return record("weigh", sum(mul(losses.detach(), weights_)), {losses},
                [w = weights_](const Tensor& dy, Needs) -> Grads { return {mul(w, dy)}; });
}

WeighedBatch Optimizer::gathered(const Tensor& losses, const BatchContext& context) const {
  Communicator& c = *communicator_;
  const int64_t total = context.total > 0 ? context.total : losses.numel() * c.size();
  const auto rows = slice_sizes(total, c.size());
  const int64_t own = rows[static_cast<size_t>(c.rank())];
  check(losses.numel() == std::max<int64_t>(own, 1), "[weigh] expected ", std::max<int64_t>(own, 1),
        " losses of process ", c.rank(), "'s part of ", total, ", got ", losses.numel());
  const auto whole = [&](const Tensor& part) {
    if (!part) return Tensor();
    Tensor all = empty({total}, options_of(part));
    c.all_gather(all, own > 0 ? part : Tensor(), rows);
    return all;
  };
  return {whole(losses), {}, {whole(context.indices), whole(context.groups), total}};
}

Tensor Optimizer::own_part(const Tensor& weights, int64_t samples) const {
  const Slice own = slice_of(weights.numel(), communicator_->rank(), communicator_->size());
  if (own.size() > 0) return weights.slice(own.begin, own.end);
  return zeros({samples}, options_of(weights));
}

void Optimizer::distribute(Communicator& communicator) {
  if (communicator.size() == 1) return;
  communicator_ = &communicator;
  buckets_ = std::make_unique<GradientBuckets>(parameters_, arena_, communicator);
}

void Optimizer::backward(const Tensor& objective) {
  attach();
  if (!buckets_) return objective.backward();
  const Listening on(*buckets_);
  objective.backward();
}

void Optimizer::set_risk(std::unique_ptr<Risk> risk) {
  check(risk != nullptr, "[optimizer] expected a risk, got none");
  risk_ = std::move(risk);
}

void Optimizer::attach(bool summed) {
  char* const grads = static_cast<char*>(arena_.grads.raw());
  for (size_t i = 0; i < parameters_.size(); i++) {
    const Tensor& p = parameters_[i];
    const size_t offset = static_cast<size_t>(arena_.offsets[i]) * size_of(arena_.values.dtype());
    check(
        p.storage() == arena_.values.storage() && p.offset() == arena_.values.offset() + offset,
        "[optimizer] parameter ", i, ", ", p.shape(),
        ", was moved since this optimizer was made, by to() or by another optimizer of parameters that are not in one "
        "arena; make the optimizer after that");
    check(p.requires_grad(), "[optimizer] parameter ", i, ", ", p.shape(),
          ", was frozen since this optimizer was made; make one of the parameters that are left");
    const Tensor given = p.grad();
    if (given && given.raw() == grads + offset) continue;
    check(!given || !summed, "[optimizer] the gradient of parameter ", i, ", ", p.shape(),
          ", was set after backward() had summed it over the processes");
    Tensor own(arena_.grads.storage(), arena_.grads.offset() + offset, p.shape(), arena_.grads.dtype());
    if (given) own.copy_from(given);  // came from set_grad()
    else dispatch(own, [&]<class K>() { K::fill(own, 0); });
    Tensor(p).set_grad(own);
  }
}

void Optimizer::zero_grad() {
  attach();
  for (const Slice& run : runs_) {
    Tensor grads = arena_.grads.slice(run.begin, run.end);
    dispatch(grads, [&]<class K>() { K::fill(grads, 0); });
    profile_work({.bytes = static_cast<double>(grads.bytes())});
  }
  profile_mark("zero_grad");
}

void Optimizer::step() {
  if (buckets_) buckets_->finish();
  attach(buckets_ != nullptr);
  dispatch(arena_.values, [&]<class K>() { K::begin_update(control_, arena_.grads, segments_, max_norm_); });
  update();
  for (const Slice& run : runs_) {
    arena_.values.slice(run.begin, run.end).mark_written();
    if (arena_.twin) arena_.twin.slice(run.begin, run.end).mark_written();
  }
  // Gradients are read, values and slots read and written, the twin written.
  const size_t slots = slots_.size() * arena_.values.bytes(), twin = arena_.twin ? arena_.twin.bytes() : 0;
  profile_work({.bytes = static_cast<double>(arena_.grads.bytes() + 2 * (arena_.values.bytes() + slots) + twin)});
  profile_mark("update");
}

void Optimizer::clear_non_finite() {
  Tensor bad = control_.slice(kBad, kBad + 1);
  dispatch(bad, [&]<class K>() { K::fill(bad, 0); });
}

void Optimizer::set_lr(double lr) {
  check_positive("lr", lr, true);
  lr_ = lr;
  std::vector<double> hyper;
  for (const ParamGroup& g : groups_) {
    hyper.push_back(lr * g.lr_scale);
    hyper.push_back(g.weight_decay.value_or(weight_decay_));
  }
  segments_.hyper.copy_from(from_vector(segments_.hyper.shape(), hyper, options_of(segments_.hyper)));
}

std::map<std::string, Tensor> Optimizer::state() {
  std::map<std::string, Tensor> state{{"control", control_}};
  for (auto& [key, tensor] : risk_->state()) state["risk." + key] = tensor;
  return state;
}

namespace {
// The live state together with the slots (momentum etc.).
std::map<std::string, Tensor> everything(Optimizer& opt) {
  std::map<std::string, Tensor> all = opt.state();
  for (const auto& [name, tensors] : opt.slots())
    for (size_t i = 0; i < tensors.size(); i++) all.emplace(concat_text(name, ".", i), tensors[i]);
  return all;
}
}  // namespace

std::map<std::string, Tensor> Optimizer::state_dict() { return copies_of(everything(*this)); }

void Optimizer::load_state_dict(const std::map<std::string, Tensor>& state) {
  auto live = everything(*this);
  load_into(live, state, "optim", "optimizer");
}

std::map<std::string, std::vector<Tensor>> Optimizer::slots() const {
  std::map<std::string, std::vector<Tensor>> views;
  for (const auto& [name, arena] : slots_)
    for (size_t i = 0; i < parameters_.size(); i++)
      views[name].emplace_back(arena.storage(), static_cast<size_t>(arena_.offsets[i]) * size_of(arena.dtype()),
                               parameters_[i].shape(), arena.dtype());
  return views;
}

Tensor Optimizer::add_slot(const char* name) {
  return slots_[name] = zeros(arena_.values.shape(), options_of(arena_.values));
}

Sgd::Sgd(std::vector<Tensor> parameters, const SgdOptions& options) : Sgd(one_group(std::move(parameters)), options) {}

Sgd::Sgd(std::vector<ParamGroup> groups, const SgdOptions& o)
    : Optimizer(std::move(groups), o.lr, o.weight_decay, o.max_norm), rule_{o.momentum, o.nesterov} {
  check(o.momentum >= 0 && o.momentum < 1, "[optimizer] expected momentum in [0, 1), got ", o.momentum);
  check(!o.nesterov || o.momentum > 0, "[optimizer] expected momentum > 0 with nesterov");
  if (o.momentum > 0) momentum_ = add_slot("momentum");
}

void Sgd::update() {
  dispatch(arena_.values, [&]<class K>() {
    K::sgd_update(arena_.values, momentum_, arena_.twin, arena_.grads, control_, segments_, rule_);
  });
}

Adam::Adam(std::vector<Tensor> parameters, const AdamOptions& options)
    : Adam(one_group(std::move(parameters)), options) {}

Adam::Adam(std::vector<ParamGroup> groups, const AdamOptions& o)
    : Optimizer(std::move(groups), o.lr, o.weight_decay, o.max_norm), rule_{o.beta1, o.beta2, o.eps, o.decoupled} {
  check(o.beta1 >= 0 && o.beta1 < 1 && o.beta2 >= 0 && o.beta2 < 1, "[optimizer] expected betas in [0, 1), got ",
        o.beta1, " and ", o.beta2);
  check_positive("eps", o.eps, true);
  first_ = add_slot("first_moment");
  second_ = add_slot("second_moment");
}

void Adam::update() {
  dispatch(arena_.values, [&]<class K>() {
    K::adam_update(arena_.values, first_, second_, arena_.twin, arena_.grads, control_, segments_, rule_);
  });
}

}  // namespace fulcrum
