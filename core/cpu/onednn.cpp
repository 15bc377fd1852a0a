#include <fulcrum/core/cpu/onednn.h>

#include <omp.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>
#include <optional>
#include <unordered_map>

#include <oneapi/dnnl/dnnl.hpp>

#include <fulcrum/core/cpu/processor.h>
#include <fulcrum/core/kept_weights.h>

namespace fulcrum::cpu {
namespace {

using dnnl::memory;

// Never destroyed: plans and tensors in static variables may outlive any static object here.
const dnnl::engine& engine() {
  static const auto* e = new dnnl::engine(dnnl::engine::kind::cpu, 0);
  return *e;
}

// With a scratchpad from the caller: otherwise oneDNN allocates one, and returns the pages, in every execution.
dnnl::primitive_attr attributes() {
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attr;
}

Tensor scratch(const memory::desc& desc) {
  return empty({std::max<int64_t>(1, static_cast<int64_t>(desc.get_size()))}, {DType::kU8, {}});
}

/// A primitive that takes its scratchpad from the pool.
struct Step {
  dnnl::primitive primitive;
  memory::desc scratchpad;

  explicit Step(const dnnl::primitive_desc_base& pd)
      : primitive(pd.get()), scratchpad(pd.query_md(dnnl::query::scratchpad_md)) {}

  void run(std::unordered_map<int, memory> arguments) const {
    thread_local dnnl::stream stream(engine());
    Tensor pad = scratch(scratchpad);
    arguments.emplace(DNNL_ARG_SCRATCHPAD, memory(scratchpad, engine(), pad.raw()));
    primitive.execute(stream, arguments);
    stream.wait();
  }
};

/// An argument's layout in the caller and in the primitive, and the reorder between them if they differ.
struct Argument {
  enum Direction : bool { kInput, kOutput };
  int name;  // DNNL_ARG_…
  Direction direction;
  memory::desc held, wanted;
  std::optional<Step> reorder;

  Argument(int n, Direction d, const memory::desc& h, const memory::desc& w)
      : name(n), direction(d), held(h), wanted(w) {
    if (held == wanted) return;
    const memory::desc& from = d == kInput ? held : wanted;
    const memory::desc& to = d == kInput ? wanted : held;
    reorder.emplace(dnnl::reorder::primitive_desc(engine(), from, engine(), to, attributes()));
  }
};

/// Everything needed to execute one operation on one geometry. Immutable, so threads can share it.
struct Plan {
  Step step;
  std::vector<Argument> arguments;

  /// Returns input i, given in the caller's layout, in the primitive's layout.
  Tensor reordered_input(size_t i, const void* data) const {
    const Argument& a = arguments[i];
    Tensor to = scratch(a.wanted);
    a.reorder->run({{DNNL_ARG_FROM, memory(a.held, engine(), const_cast<void*>(data))},
                    {DNNL_ARG_TO, memory(a.wanted, engine(), to.raw())}});
    return to;
  }

  /// Executes the operation. data: pointers in the order of `arguments`. reordered: inputs that are already available
  /// in the primitive's layout; the others are undefined.
  void run(const std::vector<const void*>& data, std::vector<Tensor> reordered = {}) const {
    std::unordered_map<int, memory> bound;
    reordered.resize(arguments.size());
    for (size_t i = 0; i < arguments.size(); i++) {
      const Argument& a = arguments[i];
      memory held(a.held, engine(), const_cast<void*>(data[i]));
      if (!a.reorder) {
        bound.emplace(a.name, held);
        continue;
      }
      if (!reordered[i])
        reordered[i] = a.direction == Argument::kInput ? reordered_input(i, data[i]) : scratch(a.wanted);
      bound.emplace(a.name, memory(a.wanted, engine(), reordered[i].raw()));
    }
    step.run(bound);
    for (size_t i = 0; i < arguments.size(); i++) {
      const Argument& a = arguments[i];
      if (!a.reorder || a.direction == Argument::kInput) continue;
      memory held(a.held, engine(), const_cast<void*>(data[i]));
      a.reorder->run({{DNNL_ARG_FROM, bound.at(a.name)}, {DNNL_ARG_TO, held}});
    }
  }
};

/// A cache of plans by key. A null plan means that oneDNN has none.
template <class Key>
class PlanCache {
 public:
  using Entry = std::shared_ptr<const Plan>;

  template <class Make>
  Entry get(const Key& key, Make make) {
    const std::lock_guard lock(mutex_);
    if (auto it = plans_.find(key); it != plans_.end()) return it->second;
    // A network has tens of geometries. A program with many more (images of any size) has to plan anew.
    // A plan that is running while it is dropped here stays alive.
    if (plans_.size() >= kMostPlans) plans_.clear();
    return plans_.emplace(key, make()).first->second;
  }

 private:
  static constexpr size_t kMostPlans = 1024;
  std::mutex mutex_;
  std::map<Key, Entry> plans_;
};

memory::data_type type_of(DType dtype) {
  return dtype == DType::kBf16 ? memory::data_type::bf16 : memory::data_type::f32;
}

// bf16 is accepted only where it is no slower than f32; elsewhere the caller widens it.
bool is_known(DType dtype) { return dtype == DType::kF32 || (dtype == DType::kBf16 && onednn_multiplies_bf16()); }

// ---- convolution --------------------------------------------------------------------------------

enum class Pass { kForward, kDataGradient, kWeightGradient };

struct ConvKey {
  Pass pass;
  Conv2dGeometry g;
  DType activations, weights;
  std::optional<DType> bias;
  int threads;  // a primitive is built for a number of threads
  friend auto operator<=>(const ConvKey&, const ConvKey&) = default;
};

std::string describe(const Conv2dGeometry& g) {
  return concat_text("x ", Shape{g.n, g.h, g.w, g.c}, ", weight ",
                     Shape{g.out_c, g.kernel_h, g.kernel_w, g.c / g.groups}, ", stride ", Shape{g.stride_h, g.stride_w},
                     ", padding ", Shape{g.padding_h, g.padding_w}, ", dilation ", Shape{g.dilation_h, g.dilation_w},
                     ", groups ", g.groups);
}

/// The descriptors of one convolution: dimensions in oneDNN's order, memory in ours.
struct ConvPlanner {
  const ConvKey& key;
  memory::desc x, w, bias, y;
  memory::dims strides, dilations, padding;

  explicit ConvPlanner(const ConvKey& k) : key(k) {
    const Conv2dGeometry& g = k.g;
    const auto nhwc = memory::format_tag::nhwc;
    x = {{g.n, g.c, g.h, g.w}, type_of(k.activations), nhwc};
    y = {{g.n, g.out_c, g.out_h, g.out_w}, type_of(k.activations), nhwc};
    if (k.bias) bias = {{g.out_c}, type_of(*k.bias), memory::format_tag::a};
    const int64_t in = g.c / g.groups, out = g.out_c / g.groups;
    const int64_t row = g.kernel_w * in, filter = g.kernel_h * row;
    memory::dims sizes{out, in, g.kernel_h, g.kernel_w}, steps{filter, 1, row, in};
    if (g.groups > 1) {
      sizes.insert(sizes.begin(), g.groups);
      steps.insert(steps.begin(), out * filter);
    }
    w = {sizes, type_of(k.weights), steps};
    strides = {g.stride_h, g.stride_w};
    dilations = {g.dilation_h - 1, g.dilation_w - 1};
    padding = {g.padding_h, g.padding_w};
  }

  static memory::desc any(const memory::desc& d) { return any(d, d.data_type()); }
  static memory::desc any(const memory::desc& d, memory::data_type type) {
    return {d.dims(), type, memory::format_tag::any};
  }

  static bool is_fast(const dnnl::primitive_desc& pd) { return pd && std::strncmp(pd.impl_info_str(), "ref", 3) != 0; }

  /// Chooses the layouts of the activations; make(x, y) plans for given ones. Activations stay NHWC unless
  /// oneDNN has only its reference implementation for that, which costs far more than reordering them.
  /// The layout of the weights, which are small, is always oneDNN's choice.
  template <class Make>
  static auto choose(const memory::desc& x, const memory::desc& y, Make make) {
    auto as_held = make(x, y);
    if (is_fast(as_held)) return as_held;
    auto reordered = make(any(x), any(y));
    return is_fast(reordered) || !as_held ? reordered : as_held;
  }

  using Forward = dnnl::convolution_forward;
  using DataGradient = dnnl::convolution_backward_data;
  using WeightGradient = dnnl::convolution_backward_weights;
  static constexpr auto kDirect = dnnl::algorithm::convolution_direct;

  Forward::primitive_desc forward(const memory::desc& src, const memory::desc& dst) const {
    return {{dnnl::prop_kind::forward_training, kDirect, src, any(w, type_of(key.activations)), bias, dst, strides,
             dilations, padding, padding},
            attributes(),
            engine(),
            /*allow_empty=*/true};
  }

  DataGradient::primitive_desc data_gradient(const memory::desc& src, const memory::desc& dst) const {
    const auto hint = forward(src, dst);
    if (!hint) return {};
    return {{kDirect, src, any(w), dst, strides, dilations, padding, padding},
            attributes(),
            engine(),
            hint,
            /*allow_empty=*/true};
  }

  WeightGradient::primitive_desc weight_gradient(const memory::desc& src, const memory::desc& dst) const {
    const auto hint = forward(src, dst);
    if (!hint) return {};
    return {{kDirect, src, any(w), dst, strides, dilations, padding, padding},
            attributes(),
            engine(),
            hint,
            /*allow_empty=*/true};
  }

  std::shared_ptr<const Plan> plan() const {
    constexpr auto kInput = Argument::kInput, kOutput = Argument::kOutput;
    if (key.pass == Pass::kForward) {
      const auto pd = choose(x, y, [&](const auto& src, const auto& dst) { return forward(src, dst); });
      if (!pd) return nullptr;
      std::vector<Argument> arguments{{DNNL_ARG_DST, kOutput, y, pd.dst_desc()},
                                      {DNNL_ARG_SRC, kInput, x, pd.src_desc()},
                                      {DNNL_ARG_WEIGHTS, kInput, w, pd.weights_desc()}};
      if (key.bias) arguments.push_back({DNNL_ARG_BIAS, kInput, bias, pd.bias_desc()});
      return std::make_shared<Plan>(Plan{Step(pd), std::move(arguments)});
    }
    if (key.pass == Pass::kDataGradient) {
      const auto pd = choose(x, y, [&](const auto& src, const auto& dst) { return data_gradient(src, dst); });
      if (!pd) return nullptr;
      return std::make_shared<Plan>(Plan{Step(pd),
                                         {{DNNL_ARG_DIFF_SRC, kOutput, x, pd.diff_src_desc()},
                                          {DNNL_ARG_DIFF_DST, kInput, y, pd.diff_dst_desc()},
                                          {DNNL_ARG_WEIGHTS, kInput, w, pd.weights_desc()}}});
    }
    const auto pd = choose(x, y, [&](const auto& src, const auto& dst) { return weight_gradient(src, dst); });
    if (!pd) return nullptr;
    return std::make_shared<Plan>(Plan{Step(pd),
                                       {{DNNL_ARG_DIFF_WEIGHTS, kOutput, w, pd.diff_weights_desc()},
                                        {DNNL_ARG_DIFF_DST, kInput, y, pd.diff_dst_desc()},
                                        {DNNL_ARG_SRC, kInput, x, pd.src_desc()}}});
  }
};

/// weight: the weight of a forward pass, whose reordered copy InferenceMode may keep.
bool run_conv(const char* op, const ConvKey& key, const std::vector<const void*>& data, const Tensor& weight = {}) {
  if (!is_known(key.activations) || !is_known(key.weights)) return false;
  if (key.bias && !is_known(*key.bias)) return false;
  static auto* cache = new PlanCache<ConvKey>;
  constexpr size_t kWeight = 2;  // index among a forward plan's arguments
  try {
    const auto plan = cache->get(key, [&] { return ConvPlanner(key).plan(); });
    if (!plan) return false;
    std::vector<Tensor> reordered(data.size());
    if (weight && plan->arguments[kWeight].reorder)
      reordered[kWeight] = kept_weight(weight, {WeightForm::kLibrary, key.g, key.activations, key.threads},
                                       [&] { return plan->reordered_input(kWeight, weight.raw()); });
    plan->run(data, std::move(reordered));
    return true;
  } catch (const dnnl::error& e) {
    fail("[", op, "] oneDNN: ", e.what(), " (status ", e.status, ") for ", describe(key.g), ", ", key.activations);
  }
}

// ---- matrix product -----------------------------------------------------------------------------

struct GemmKey {
  int64_t m, n, k;
  bool transpose_a, transpose_b;
  DType a, b, c;
  std::optional<DType> bias;
  int threads;
  friend auto operator<=>(const GemmKey&, const GemmKey&) = default;
};

std::shared_ptr<const Plan> plan_gemm(const GemmKey& key) {
  const auto matrix = [](int64_t rows, int64_t cols, bool transposed, DType dtype) {
    const memory::dims strides = transposed ? memory::dims{1, rows} : memory::dims{cols, 1};
    return memory::desc({rows, cols}, type_of(dtype), strides);
  };
  const memory::desc a = matrix(key.m, key.k, key.transpose_a, key.a);
  const memory::desc b = matrix(key.k, key.n, key.transpose_b, key.b);
  const memory::desc c = matrix(key.m, key.n, false, key.c);
  const memory::desc bias = key.bias ? matrix(1, key.n, false, *key.bias) : memory::desc();
  const dnnl::matmul::primitive_desc pd({a, b, bias, c}, attributes(), engine(),
                                        /*allow_empty=*/true);
  if (!pd) return nullptr;
  std::vector<Argument> arguments{{DNNL_ARG_DST, Argument::kOutput, c, pd.dst_desc()},
                                  {DNNL_ARG_SRC, Argument::kInput, a, pd.src_desc()},
                                  {DNNL_ARG_WEIGHTS, Argument::kInput, b, pd.weights_desc()}};
  if (key.bias) arguments.push_back({DNNL_ARG_BIAS, Argument::kInput, bias, pd.bias_desc()});
  return std::make_shared<Plan>(Plan{Step(pd), std::move(arguments)});
}

std::optional<DType> dtype_if(const Tensor& t) { return t ? std::optional(t.dtype()) : std::nullopt; }

}  // namespace

bool onednn_conv2d(Tensor& y, const Tensor& x, const Tensor& w, const Tensor& bias, const Conv2dGeometry& g) {
  std::vector<const void*> data{y.raw(), x.raw(), w.raw()};
  if (bias) data.push_back(bias.raw());
  return run_conv("conv2d", {Pass::kForward, g, x.dtype(), w.dtype(), dtype_if(bias), omp_get_max_threads()}, data, w);
}

bool onednn_conv2d_data_gradient(Tensor& dx, const Tensor& dy, const Tensor& w, const Conv2dGeometry& g) {
  return run_conv("conv2d_data_gradient", {Pass::kDataGradient, g, dy.dtype(), w.dtype(), {}, omp_get_max_threads()},
                  {dx.raw(), dy.raw(), w.raw()});
}

bool onednn_conv2d_weight_gradient(Tensor& dw, const Tensor& dy, const Tensor& x, const Conv2dGeometry& g) {
  return run_conv("conv2d_weight_gradient",
                  {Pass::kWeightGradient, g, x.dtype(), dw.dtype(), {}, omp_get_max_threads()},
                  {dw.raw(), dy.raw(), x.raw()});
}

bool onednn_gemm(Tensor& c, const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b, const Tensor& bias) {
  if (!is_known(a.dtype()) || !is_known(b.dtype()) || !is_known(c.dtype())) return false;
  if (bias && !is_known(bias.dtype())) return false;
  const GemmKey key{
      c.size(0), c.size(1),      a.size(transpose_a ? 0 : 1), transpose_a, transpose_b, a.dtype(), b.dtype(),
      c.dtype(), dtype_if(bias), omp_get_max_threads()};
  static auto* cache = new PlanCache<GemmKey>;
  try {
    const auto plan = cache->get(key, [&] { return plan_gemm(key); });
    if (!plan) return false;
    std::vector<const void*> data{c.raw(), a.raw(), b.raw()};
    if (bias) data.push_back(bias.raw());
    plan->run(data);
    return true;
  } catch (const dnnl::error& e) {
    fail("[gemm] oneDNN: ", e.what(), " (status ", e.status, ") for a ", a.shape(), ", b ", b.shape(), ", c ",
         c.shape(), ", ", a.dtype());
  }
}

bool onednn_has_tiles() {
  static const bool has = dnnl::get_effective_cpu_isa() == dnnl::cpu_isa::avx512_core_amx;
  return has;
}

bool onednn_multiplies_bf16() { return bf16_pairs_pay() || onednn_has_tiles(); }

std::string onednn_version() {
  const dnnl_version_t* v = dnnl_version();
  return concat_text(v->major, ".", v->minor, ".", v->patch);
}

}  // namespace fulcrum::cpu
