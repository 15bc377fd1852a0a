#include <fulcrum/layers/module.h>

#include <algorithm>
#include <cmath>
#include <set>

#include <fulcrum/core/arena.h>
#include <fulcrum/core/autograd.h>
#include <fulcrum/core/kernels.h>
#include <fulcrum/core/ops.h>
#include <fulcrum/core/recompute.h>

namespace fulcrum {

namespace {

thread_local ForwardObserver* observer = nullptr;

// The parent and name for the next Module constructed on this thread.
struct PendingAdoption {
  Module* parent = nullptr;
  std::string name;
};
thread_local PendingAdoption pending;

// The streams of a model's generators differ in the upper bits, which the stream numbers of random.h do not use.
constexpr uint64_t kGeneratorStep = uint64_t{1} << 40;

struct Fans {
  double in, out;
};

Fans fans_of(const NamedTensor& p) {
  const Shape& s = p.tensor.shape();
  check(p.convolution || s.dim() == 2, "[init] expected a matrix or a convolution weight for ", p.name, ", got ", s);
  const double window = p.convolution ? static_cast<double>(s[1] * s[2]) : 1;
  return {window * static_cast<double>(s[-1]), window * static_cast<double>(s[0])};
}

double stddev_of(const NamedTensor& p, const Init& init) {
  const Fans fans = fans_of(p);
  const bool xavier = init.kind == Init::Kind::kXavierUniform || init.kind == Init::Kind::kXavierNormal;
  if (xavier) return init.a * std::sqrt(2 / (fans.in + fans.out));
  return init.a / std::sqrt(init.fan == Init::Fan::kIn ? fans.in : fans.out);
}

void draw(Tensor& t, const NamedTensor& p, const Init& init, uint64_t seed, uint64_t stream) {
  switch (init.kind) {
    case Init::Kind::kConstant: dispatch(t, [&]<class K>() { K::fill(t, init.a); }); return;
    case Init::Kind::kUniform: return fill_uniform(t, init.a, init.b, seed, stream);
    case Init::Kind::kNormal: return fill_normal(t, init.a, init.b, seed, stream);
    case Init::Kind::kKaimingUniform:
    case Init::Kind::kXavierUniform: {
      const double bound = std::sqrt(3.0) * stddev_of(p, init);
      return fill_uniform(t, -bound, bound, seed, stream);
    }
    case Init::Kind::kKaimingNormal:
    case Init::Kind::kXavierNormal: return fill_normal(t, 0, stddev_of(p, init), seed, stream);
  }
  fail("[init] corrupt kind ", static_cast<int>(init.kind));
}

Shape oihw(const Shape& s) { return {s[0], s[3], s[1], s[2]}; }

// The shape in a state dict.
Shape disk_shape(const NamedTensor& t) { return t.convolution ? oihw(t.tensor.shape()) : t.tensor.shape(); }

std::string join(const std::string& prefix, const std::string& name) {
  return prefix.empty() ? name : prefix + "." + name;
}

void append_list(std::string& text, const char* what, const std::vector<std::string>& names) {
  if (names.empty()) return;
  text += concat_text("\n  ", what, " (", names.size(), "):");
  for (const std::string& name : names) text += "\n    " + name;
}

}  // namespace

Tensor to_oihw(const Tensor& weight) {
  check(weight.dim() == 4, "[to_oihw] expected [out, kh, kw, in], got ", weight.shape());
  const NoGrad no_grad;
  const Shape& s = weight.shape();
  return transpose(weight.reshape({s[0], s[1] * s[2], s[3]}), 1, 2).reshape(oihw(s));
}

Tensor from_oihw(const Tensor& weight) {
  check(weight.dim() == 4, "[from_oihw] expected [out, in, kh, kw], got ", weight.shape());
  const NoGrad no_grad;
  const Shape& s = weight.shape();
  return transpose(weight.reshape({s[0], s[1], s[2] * s[3]}), 1, 2).reshape({s[0], s[2], s[3], s[1]});
}

void fill(const NamedTensor& parameter, const Init& init, uint64_t seed, uint64_t stream) {
  Tensor target = parameter.tensor;
  Tensor host = empty(disk_shape(parameter));
  draw(host, parameter, init, seed, stream);
  target.copy_from(parameter.convolution ? from_oihw(host) : host);
}

// ---- construction ----

Module::Adoption::Adoption(Module& parent, std::string name) {
  parent.check_new_name(name);
  pending = {&parent, std::move(name)};
}
// Also clears it if the child's constructor threw before its Module took it.
Module::Adoption::~Adoption() { pending = {}; }

Module::Module(std::optional<uint64_t> seed) : seed_(seed) {
  // Take it rather than read it: modules constructed inside the child's constructor must not see it.
  PendingAdoption adoption = std::exchange(pending, {});
  parent_ = adoption.parent;
  name_ = std::move(adoption.name);
}

// A child with other owners outlives this module and becomes a root again.
Module::~Module() {
  for (const auto& child : children_) {
    child->parent_ = nullptr;
    child->name_.clear();
  }
}

void Module::take(std::string name, std::shared_ptr<Module> child) {
  check_new_name(name);
  check(child != nullptr, "[module] expected a module for '", name, "', got none");
  check(child->parent_ == nullptr, "[module] expected a module without a parent for '", name, "', got '",
        child->full_name(), "' of another");
  check(child.get() != &root(), "[module] '", name, "' cannot be a child of its own");
  // Count its parameters and generators like added ones, so that those added later get streams of their own.
  Module& top = root();
  for (const auto& [path, generator] : child->named_generators())
    generator->stream = generator->stream % kGeneratorStep + kGeneratorStep * top.generator_count_++;
  top.parameter_count_ += child->parameter_count_;
  child->parent_ = this;
  child->name_ = std::move(name);
  children_.push_back(std::move(child));
}

void Module::release(Module& child) {
  const auto found = std::ranges::find_if(children_, [&](const auto& c) { return c.get() == &child; });
  check(found != children_.end(), "[module] expected a child of '", full_name(), "', got '", child.full_name(), "'");
  child.parent_ = nullptr;
  child.name_.clear();
  children_.erase(found);
}

void Module::check_new_name(const std::string& name) const {
  const auto same = [&](const auto& other) { return other.name == name; };
  const bool used = std::any_of(parameters_.begin(), parameters_.end(), same) ||
                    std::any_of(buffers_.begin(), buffers_.end(), same) ||
                    std::any_of(children_.begin(), children_.end(), [&](auto& c) { return c->name_ == name; }) ||
                    std::any_of(generators_.begin(), generators_.end(), [&](auto& g) { return g.first == name; });
  check(!name.empty() && name.find('.') == std::string::npos && !used, "[module] expected a new name without dots in '",
        full_name(), "', got '", name, "'");
}

Module& Module::root() {
  Module* m = this;
  while (m->parent_) m = m->parent_;
  return *m;
}

uint64_t Module::seed() const {
  const Module* m = this;
  while (!m->seed_ && m->parent_) m = m->parent_;
  return m->seed_.value_or(0);
}

std::string Module::full_name() const { return parent_ ? join(parent_->full_name(), name_) : name_; }

Tensor Module::add_parameter(const std::string& name, const Shape& shape, const Init& init, Layout layout) {
  check_new_name(name);
  Tensor t = empty(shape);
  t.set_requires_grad();
  parameters_.push_back({name, t, layout == Layout::kConvolution});
  fill(parameters_.back(), init, seed(), streams::kInit + root().parameter_count_++);
  return t;
}

Tensor Module::add_parameter(const std::string& name, Tensor value) {
  check_new_name(name);
  check(value.dtype() == DType::kF32 && value.device().is_cpu(), "[module] expected the parameter '", name,
        "' in f32 on the CPU, got ", value.dtype(), " on ", value.device());
  value.set_requires_grad();
  parameters_.push_back({name, value});
  root().parameter_count_++;
  return value;
}

Tensor Module::add_buffer(const std::string& name, Tensor value) {
  check_new_name(name);
  buffers_.push_back({name, value});
  return value;
}

Generator& Module::add_generator(const std::string& name, uint64_t stream, std::optional<uint64_t> own_seed) {
  check_new_name(name);
  const uint64_t own_stream = stream + kGeneratorStep * root().generator_count_++;
  generators_.emplace_back(name, std::make_unique<Generator>(own_seed.value_or(seed()), own_stream));
  return *generators_.back().second;
}

Tensor Module::operator()(const Tensor& x) {
  if (!recompute_) return observed(forward(x));
  // Keeps this module alive until the backward pass if a shared_ptr owns it; otherwise the caller must.
  const auto kept = weak_from_this().lock();
  return observed(recompute([this, kept](const Tensor& input) { return forward(input); }, x));
}

// ---- the tree ----

// Calls f(module, name relative to the start of the walk) for a module and all its descendants.
template <class Self, class F>
void Module::walk(Self& self, const std::string& prefix, F& f) {
  f(self, prefix);
  for (const auto& child : self.children_) {
    Self& c = *child;
    walk(c, join(prefix, c.name_), f);
  }
}

template <class Get>
std::vector<NamedTensor> Module::collect(Get get) const {
  std::vector<NamedTensor> all;
  auto visit = [&](const Module& m, const std::string& prefix) {
    for (const NamedTensor& t : get(m)) all.push_back({join(prefix, t.name), t.tensor, t.convolution});
  };
  walk(*this, "", visit);
  return all;
}

std::vector<NamedTensor> Module::named_parameters() const {
  return collect([](const Module& m) -> const auto& { return m.parameters_; });
}
std::vector<NamedTensor> Module::named_buffers() const {
  return collect([](const Module& m) -> const auto& { return m.buffers_; });
}

std::vector<Tensor> Module::parameters() const {
  std::vector<Tensor> all;
  for (const NamedTensor& p : named_parameters())
    if (p.tensor.requires_grad()) all.push_back(p.tensor);
  return all;
}

std::vector<std::pair<std::string, Generator*>> Module::named_generators() {
  std::vector<std::pair<std::string, Generator*>> all;
  auto visit = [&](Module& m, const std::string& prefix) {
    for (const auto& [name, generator] : m.generators_) all.emplace_back(join(prefix, name), generator.get());
  };
  walk(*this, "", visit);
  return all;
}

int64_t Module::num_parameters() const {
  int64_t n = 0;
  for (const NamedTensor& p : named_parameters()) n += p.tensor.numel();
  return n;
}

void Module::train(bool on) {
  auto visit = [&](Module& m, const std::string&) { m.training_ = on && !m.frozen_; };
  walk(*this, "", visit);
}

EvalMode::EvalMode(Module& module) {
  auto visit = [&](Module& m, const std::string&) { modes_.emplace_back(&m, m.training_); };
  Module::walk(module, "", visit);
  module.eval();
}

EvalMode::~EvalMode() {
  for (const auto& [m, training] : modes_) m->training_ = training && !m->frozen_;
}

void Module::freeze() {
  auto visit = [](Module& m, const std::string&) {
    m.frozen_ = true;
    for (NamedTensor& p : m.parameters_) p.tensor.set_requires_grad(false);
  };
  walk(*this, "", visit);
  train(false);
}

void Module::unfreeze() {
  auto visit = [](Module& m, const std::string&) {
    m.frozen_ = false;
    for (NamedTensor& p : m.parameters_) p.tensor.set_requires_grad(true);
  };
  walk(*this, "", visit);
}

// ---- device and dtype ----

void Module::to(Device device, DType dtype) {
  check(is_floating(dtype), "[module] expected f32, bf16 or f64 batches, got ", dtype);
  const DType master = master_dtype(dtype);
  std::vector<Tensor> all;
  for (const NamedTensor& p : named_parameters()) {
    if (p.tensor.node()) p.tensor.node()->twin = {};  // from an earlier to()
    all.push_back(p.tensor);
  }
  auto forget = [](Module& m, const std::string&) { m.arena_grads_ = {}; };  // of submodules moved on their own before
  walk(*this, "", forget);
  if (!all.empty()) {
    const std::optional<DType> twin = dtype == DType::kBf16 ? std::optional(DType::kBf16) : std::nullopt;
    arena_grads_ = Arena::lay_out(all, {master, device}, twin).grads;
  }
  for (NamedTensor& b : named_buffers())
    if (is_floating(b.tensor.dtype())) b.tensor.rebind(b.tensor.to(master).to(device));
  for (auto& [name, generator] : named_generators()) generator->position = generator->position.to(device);
}

void Module::zero_grad() {
  // A single fill, unless the parameters have been moved to another arena since to().
  const auto clear = [](Tensor grad) { dispatch(grad, [&]<class K>() { K::fill(grad, 0); }); };
  const std::vector<Tensor> all = parameters();
  const bool whole = arena_grads_ && std::all_of(all.begin(), all.end(), [&](const Tensor& p) {
                       return p.grad() && p.grad().storage() == arena_grads_.storage();
                     });
  if (whole) return clear(arena_grads_);
  for (const Tensor& p : all)
    if (p.grad()) clear(p.grad());
}

// ---- state ----

TensorMap Module::state_dict() const {
  const NoGrad no_grad;
  TensorMap dict;
  const auto add_all = [&](const std::vector<NamedTensor>& tensors) {
    for (const NamedTensor& t : tensors) {
      const Tensor copy = t.convolution ? to_oihw(t.tensor) : t.tensor.clone();
      dict.emplace(t.name, copy.to(Device()));
    }
  };
  add_all(named_parameters());
  add_all(named_buffers());
  return dict;
}

LoadReport Module::load_state_dict(const TensorMap& dict, bool strict) {
  std::vector<NamedTensor> targets = named_parameters();
  for (NamedTensor& b : named_buffers()) targets.push_back(std::move(b));
  LoadReport report;
  std::vector<std::string> wrong;
  std::set<std::string> known;
  for (const NamedTensor& t : targets) {
    known.insert(t.name);
    const bool floating = is_floating(t.tensor.dtype());
    const auto it = dict.find(t.name);
    if (it == dict.end()) {
      if (floating) report.missing.push_back(t.name);
    } else if (it->second.shape() != disk_shape(t) || is_floating(it->second.dtype()) != floating) {
      wrong.push_back(concat_text(t.name, ": expected ", floating ? "floating " : "integer ", disk_shape(t), ", got ",
                                  it->second.dtype(), " ", it->second.shape()));
    }
  }
  for (const auto& [name, tensor] : dict)
    if (!known.contains(name)) report.unexpected.push_back(name);
  const bool complete = report.missing.empty() && report.unexpected.empty();
  if (!wrong.empty() || (strict && !complete)) {
    std::string text = "[load_state_dict] expected the tensors of this model, got others";
    if (strict) append_list(text, "missing", report.missing);
    if (strict) append_list(text, "unexpected", report.unexpected);
    append_list(text, "wrong shape or dtype", wrong);
    fail(text);
  }
  const NoGrad no_grad;
  for (const NamedTensor& t : targets) {
    const auto it = dict.find(t.name);
    if (it == dict.end()) continue;
    Tensor target = t.tensor;
    target.copy_from(t.convolution ? from_oihw(it->second) : it->second);
  }
  return report;
}

// ---- observation ----

ForwardObserver::ForwardObserver(Callback callback)
    : callback_(std::move(callback)), previous_(std::exchange(observer, this)) {}
ForwardObserver::~ForwardObserver() { observer = previous_; }

Tensor Module::observed(Tensor y) const {
  for (const ForwardObserver* o = observer; o; o = o->previous_) o->callback_(full_name(), y);
  return y;
}

}  // namespace fulcrum
