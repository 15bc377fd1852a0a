#include <fulcrum/core/cuda/cudnn.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <iostream>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <unordered_map>

#include <cuda_runtime_api.h>
#include <cudnn_frontend.h>

#include <fulcrum/core/cuda/check.h>
#include <fulcrum/core/cuda/conv3x3.h>
#include <fulcrum/core/cuda/library.h>
#include <fulcrum/core/cuda/runtime.h>
#include <fulcrum/core/cuda/stopwatch.h>
#include <fulcrum/core/cuda_options.h>
#include <fulcrum/core/plan_store.h>

// The library is loaded when a GPU is first used (use_device): without it the program still starts, and computes on the
// CPU.
void* cudnn_frontend::cudnn_dlhandle = nullptr;

namespace fulcrum::cuda {

namespace {

namespace fe = cudnn_frontend;
using TensorAttributes = std::shared_ptr<fe::graph::Tensor_attributes>;

// Enough for every convolution of ResNet-50 at batch 256 in f32, whose plans copy x and y.
constexpr int64_t kMostWorkspace = int64_t{2} << 30;
constexpr int kMostTimed = 16;
// The one plan that is not cuDNN's: the kernels of conv3x3.h. Rename it whenever their order of summation changes, so
// that a resumed run either has the same bits or warns that it may not.
constexpr int64_t kOwn = -1;
constexpr const char* kOwnName = "fulcrum_conv3x3_1";

// ---- the library --------------------------------------------------------------------------------

void load_library() {
  static std::once_flag once;
  std::call_once(once, [] {
    // The frontend also loads the CUDA runtime by name: this makes it the one that we are linked to.
    const std::string runtime = concat_text("libcudart.so.", FULCRUM_CUDA_MAJOR);
    ::setenv("CUDNN_FRONTEND_CUDART_LIB_NAME", runtime.c_str(), /*overwrite=*/0);
    fe::cudnn_dlhandle = open_library("cuDNN", "libcudnn.so", CUDNN_MAJOR, FULCRUM_CUDNN_FOLDER);
  });
}

void check_status(cudnnStatus_t status, const char* expression) {
  if (status != CUDNN_STATUS_SUCCESS)
    fail("[cuda] cuDNN: ", fe::detail::get_error_string(status), " from ", expression);
}

int attribute(cudaDeviceAttr name) {
  int value = 0;
  FULCRUM_CUDA_CHECK(cudaDeviceGetAttribute(&value, name, current_device()));
  return value;
}

/// This thread's handle for the current device, on its compute stream.
cudnnHandle_t handle() {
  load_library();
  // Never destroyed: at the end of a thread the driver may be gone already.
  thread_local auto* handles = new std::map<int, cudnnHandle_t>;
  use_device(current_device());
  cudnnHandle_t& h = (*handles)[current_device()];
  if (!h) check_status(fe::detail::create_handle(&h), "cudnnCreate");
  check_status(fe::detail::set_stream(h, compute_stream()), "cudnnSetStream");
  return h;
}

/// The GPU and the version of cuDNN for which plan names are valid.
std::string environment() {
  return concat_text("sm_", attribute(cudaDevAttrComputeCapabilityMajor), attribute(cudaDevAttrComputeCapabilityMinor),
                     " ", attribute(cudaDevAttrMultiProcessorCount), "SM cudnn ", cudnn_version());
}

// ---- graphs -------------------------------------------------------------------------------------

enum Uid : int64_t { kX = 1, kW = 2, kY = 3, kBias = 4 };

fe::DataType_t type_of(DType dtype) {
  switch (dtype) {
    case DType::kF32: return fe::DataType_t::FLOAT;
    case DType::kBf16: return fe::DataType_t::BFLOAT16;
    case DType::kF64: return fe::DataType_t::DOUBLE;
    default: fail("[conv2d] expected f32, bf16 or f64, got ", dtype);
  }
}

/// The frontend's graph of one convolution.
class ConvGraph : public fe::graph::Graph {
 public:
  explicit ConvGraph(const ConvProblem& problem) : problem_(problem) {
    const fe::DataType_t sums = type_of(master_dtype(problem.dtype));
    set_io_data_type(type_of(problem.dtype)).set_intermediate_data_type(sums).set_compute_data_type(sums);
    add_operations(sums);
  }

  /// Queries the heuristics. Returns why there are no plans, or an empty text.
  std::string find_plans(cudnnHandle_t handle) {
    fe::error_t e = validate();
    if (e.is_good()) e = build_operation_graph(handle);
    if (e.is_good()) e = create_execution_plans({fe::HeurMode_t::A, fe::HeurMode_t::FALLBACK});
    if (e.is_bad()) return concat_text("cuDNN: ", e.get_message());
    using Note = fe::NumericalNote_t;
    std::vector<Note> refused{Note::NONDETERMINISTIC, Note::REDUCED_PRECISION_REDUCTION};
    if (problem_.dtype == DType::kF32 && !problem_.tf32)
      // The transforms of large tiles lose more digits than f32 has to spare.
      refused.insert(refused.end(), {Note::TENSOR_CORE, Note::DOWN_CONVERT_INPUTS, Note::FFT, Note::WINOGRAD_TILE_6x6,
                                     Note::WINOGRAD_TILE_13x13});
    if (problem_.dtype == DType::kF64) refused.insert(refused.end(), {Note::WINOGRAD, Note::FFT});
    deselect_numeric_notes(refused);
    deselect_workspace_greater_than(kMostWorkspace);
    return "";
  }

  /// Indices of the usable plans, best first; a plan that both heuristics propose appears once.
  std::vector<int64_t> usable() {
    std::vector<int64_t> indices;
    std::set<std::string> names;
    for (int64_t i = 0; i < get_execution_plan_count(); i++)
      if (plans.check_support_at_index(i).is_good() && names.insert(name(i)).second) indices.push_back(i);
    return indices;
  }

  std::string name(int64_t index) const {
    std::string name;
    fe::error_t e = get_plan_name_at_index(index, name);
    if (e.is_bad()) fail("[cuda] cuDNN: ", e.get_message(), " for plan ", index, " of ", describe(problem_));
    return name;
  }

 private:
  TensorAttributes add(Uid uid, int64_t n, int64_t c, int64_t h, int64_t w) {
    return tensor(fe::graph::Tensor_attributes().set_uid(uid).set_dim({n, c, h, w}).set_stride(strides(c, h, w)));
  }

  // Sizes in cuDNN's order, NCHW; memory in ours, NHWC.
  static std::vector<int64_t> strides(int64_t c, int64_t h, int64_t w) { return {c * h * w, 1, c * w, c}; }

  static void set_output(const TensorAttributes& t, Uid uid, int64_t n, int64_t c, int64_t h, int64_t w) {
    t->set_output(true).set_uid(uid).set_dim({n, c, h, w}).set_stride(strides(c, h, w));
  }

  template <class Attributes>
  Attributes window() const {
    const Conv2dGeometry& g = problem_.geometry;
    return Attributes()
        .set_padding({g.padding_h, g.padding_w})
        .set_stride({g.stride_h, g.stride_w})
        .set_dilation({g.dilation_h, g.dilation_w});
  }

  void add_operations(fe::DataType_t sums) {
    const Conv2dGeometry& g = problem_.geometry;
    const auto x = [&] { return add(kX, g.n, g.c, g.h, g.w); };
    const auto w = [&] { return add(kW, g.out_c, g.c / g.groups, g.kernel_h, g.kernel_w); };
    const auto y = [&] { return add(kY, g.n, g.out_c, g.out_h, g.out_w); };
    switch (problem_.pass) {
      case ConvPass::kForward: {
        TensorAttributes out = conv_fprop(x(), w(), window<fe::graph::Conv_fprop_attributes>());
        if (problem_.bias) {
          const TensorAttributes bias = add(kBias, 1, g.out_c, 1, 1);
          bias->set_data_type(sums);
          out = pointwise(out, bias, fe::graph::Pointwise_attributes().set_mode(fe::PointwiseMode_t::ADD));
        }
        return set_output(out, kY, g.n, g.out_c, g.out_h, g.out_w);
      }
      case ConvPass::kDataGradient:
        return set_output(conv_dgrad(y(), w(), window<fe::graph::Conv_dgrad_attributes>()), kX, g.n, g.c, g.h, g.w);
      case ConvPass::kWeightGradient:
        return set_output(conv_wgrad(y(), x(), window<fe::graph::Conv_wgrad_attributes>()), kW, g.out_c, g.c / g.groups,
                          g.kernel_h, g.kernel_w);
    }
  }

  const ConvProblem problem_;
};

}  // namespace

// ---- plans --------------------------------------------------------------------------------------

struct ConvPlan::Built {
  ConvProblem problem;
  std::shared_ptr<ConvGraph> graph;
  int64_t index;
  int64_t workspace;  // bytes

  void run(const ConvPointers& p, void* scratch) const {
    if (index == kOwn) return conv3x3(problem, p);
    std::unordered_map<int64_t, void*> pointers{
        {kX, const_cast<void*>(p.x)}, {kW, const_cast<void*>(p.w)}, {kY, const_cast<void*>(p.y)}};
    if (problem.bias) pointers.emplace(kBias, const_cast<void*>(p.bias));
    fe::error_t e = graph->execute_plan_at_index(handle(), pointers, scratch, index);
    if (e.is_bad())
      fail("[", name_of(problem.pass), "] cuDNN: ", e.get_message(), " from executing plan ", graph->name(index),
           " for ", describe(problem));
  }
};

namespace {

Device here() { return {Device::Kind::kCuda, current_device()}; }
/// At least `bytes` of scratch memory. Rounded up to few sizes: convolutions then share the blocks that the pool keeps.
Tensor workspace(int64_t bytes) {
  constexpr int64_t kStep = int64_t{64} << 20;
  const auto power = std::bit_ceil(static_cast<uint64_t>(std::max<int64_t>(256, bytes)));
  const int64_t size = bytes > kStep ? (bytes + kStep - 1) / kStep * kStep : static_cast<int64_t>(power);
  return empty({size}, {DType::kU8, here()});
}

}  // namespace

void ConvPlan::run(const ConvPointers& pointers) const {
  // Freed on return, before the kernels run: safe, since the pool's next user enqueues on the same stream.
  Tensor scratch = workspace(built_->workspace);
  built_->run(pointers, scratch.raw());
}

/// Chooses and builds the plan for one problem.
class ConvPlanner {
 public:
  explicit ConvPlanner(const ConvProblem& problem)
      : problem_(problem),
        key_{environment(), concat_text(describe(problem), cudnn_benchmark() ? ", timed" : "")},
        graph_(std::make_shared<ConvGraph>(problem)) {}

  ConvPlan plan() {
    ConvPlan result;
    result.reason_ = graph_->find_plans(handle());
    if (!result.reason_.empty()) return result;
    const auto chosen = choose();
    if (!chosen) {
      result.reason_ = reason_.empty() ? "no plan is reproducible and needs little memory" : reason_;
      return result;
    }
    run_plans().put(key_, name(*chosen));
    result.built_ = std::make_shared<ConvPlan::Built>(built(*chosen));
    return result;
  }

 private:
  // The plan that a resumed run has used, else the fastest one or the first that can be built.
  std::optional<int64_t> choose() {
    const std::vector<int64_t> usable = graph_->usable();
    if (const auto name = run_plans().find(key_)) {
      if (const auto index = build_by_name(usable, *name)) return index;
      std::cerr << "fulcrum: warning: the run's plan " << *name << " cannot be built; results may differ in "
                << "the last bits for " << key_.problem << std::endl;
    } else if (const auto other = run_plans().environment_of(key_.problem)) {
      static std::once_flag warned;
      std::call_once(warned, [&] {
        std::cerr << "fulcrum: warning: the run's plans are those of " << *other << ", this is " << key_.environment
                  << "; results may differ in the last bits" << std::endl;
      });
    }
    if (!cudnn_benchmark()) return first_built(usable);
    if (const auto name = find_cached_plan(cache_key()))
      if (const auto index = build_by_name(usable, *name)) return index;
    try {
      const auto index = fastest(usable);
      empty_cache(here());  // the workspaces of the slower plans
      if (index) cache_plan(cache_key(), name(*index));
      return index;
    } catch (const OutOfMemory& e) {  // the run itself may still fit
      std::cerr << "fulcrum: warning: no memory to time plans for " << key_.problem
                << "; taking the first: " << e.what() << std::endl;
      empty_cache(here());
      return first_built(usable);
    }
  }

  // Differs where our own kernels compete: an entry of a Fulcrum without them is the fastest of fewer plans.
  PlanKey cache_key() const {
    return {key_.environment, has_own() ? concat_text(key_.problem, ", beside ", kOwnName) : key_.problem};
  }

  bool has_own() const { return attribute(cudaDevAttrComputeCapabilityMajor) >= 8 && conv3x3_fits(problem_); }
  std::string name(int64_t index) const { return index == kOwn ? kOwnName : graph_->name(index); }

  bool build(int64_t index) {
    if (index == kOwn) return true;
    fe::error_t e = graph_->build_plan_at_index(index);
    if (e.is_bad()) reason_ = concat_text("cuDNN: ", e.get_message());
    return e.is_good();
  }

  std::optional<int64_t> first_built(const std::vector<int64_t>& usable) {
    for (int64_t i : usable)
      if (build(i)) return i;
    return std::nullopt;
  }

  std::optional<int64_t> build_by_name(const std::vector<int64_t>& usable, const std::string& name) {
    if (name == kOwnName) return has_own() ? std::optional(kOwn) : std::nullopt;
    for (int64_t i : usable)
      if (graph_->name(i) == name && build(i)) return i;
    return std::nullopt;
  }

  ConvPlan::Built built(int64_t index) const {
    return {problem_, graph_, index, index == kOwn ? 0 : graph_->get_workspace_size_plan_at_index(index)};
  }

  std::optional<int64_t> fastest(const std::vector<int64_t>& usable) {
    const PrivatePool::Pause common;  // a recorded step's pool would keep all memory taken here
    const Conv2dGeometry& g = problem_.geometry;
    const TensorOptions options{problem_.dtype, here()};
    Tensor x = ones({g.n, g.h, g.w, g.c}, options);
    Tensor w = ones({g.out_c, g.kernel_h, g.kernel_w, g.c / g.groups}, options);
    Tensor y = ones({g.n, g.out_h, g.out_w, g.out_c}, options);
    Tensor bias = ones({g.out_c}, {master_dtype(problem_.dtype), options.device});
    Stopwatch watch;
    std::optional<int64_t> best;
    float shortest = std::numeric_limits<float>::infinity();
    int timed = 0;
    std::vector<int64_t> candidates = usable;
    if (has_own()) candidates.insert(candidates.begin(), kOwn);
    for (int64_t i : candidates) {
      if (timed == kMostTimed) break;
      if (!build(i)) continue;
      timed++;
      const ConvPlan::Built candidate = built(i);
      try {
        Tensor scratch = workspace(candidate.workspace);
        const float time = watch.shortest(
            [&] {
              candidate.run({x.raw(), w.raw(), y.raw(), bias.raw()}, scratch.raw());
            },
            shortest);
        if (time < shortest) shortest = time, best = i;
      } catch (const Error&) {
        // The plan needs too much memory or fails to run; another one may work. If the device itself has failed,
        // synchronize() throws.
        synchronize(compute_stream());
      }
    }
    return best;
  }

  const ConvProblem problem_;
  const PlanKey key_;
  std::shared_ptr<ConvGraph> graph_;
  std::string reason_;
};

const ConvPlan& conv_plan(const ConvProblem& problem) {
  struct Key {
    int device;
    bool timed;
    ConvProblem problem;
    auto operator<=>(const Key&) const = default;
  };
  static auto* plans = new std::map<Key, ConvPlan>;
  static auto* mutex = new std::mutex;
  const std::lock_guard lock(*mutex);
  const Key key{current_device(), cudnn_benchmark(), problem};
  if (const auto it = plans->find(key); it != plans->end()) return it->second;
  cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
  FULCRUM_CUDA_CHECK(cudaStreamIsCapturing(compute_stream(), &capture));
  check(capture == cudaStreamCaptureStatusNone, "[", name_of(problem.pass),
        "] expected a plan from an eager run before the step is captured, got none for ", describe(problem));
  try {
    return plans->emplace(key, ConvPlanner(problem).plan()).first->second;
  } catch (const Error&) {
    throw;
  } catch (const std::exception& e) {  // the frontend throws some of its errors
    fail("[", name_of(problem.pass), "] cuDNN: ", e.what(), " for ", describe(problem));
  }
}

std::vector<std::string> conv_plan_names(const ConvProblem& problem, const std::string& device) {
  load_library();
  auto properties = std::make_shared<fe::DeviceProperties>();
  fe::error_t e = properties->deserialize({device.begin(), device.end()});
  if (e.is_bad()) fail("[cuda] cuDNN: ", e.get_message(), " for the device ", device);
  ConvGraph graph(problem);
  graph.set_device_properties(properties);
  if (!graph.find_plans(nullptr).empty()) return {};
  std::vector<std::string> names;
  for (int64_t i : graph.usable()) names.push_back(graph.name(i));
  return names;
}

std::string cudnn_version() {
  load_library();
  const size_t v = fe::detail::get_backend_version();
  check(v / 10000 == CUDNN_MAJOR, "[cuda] expected cuDNN ", CUDNN_MAJOR, ", got version ", v);
  return concat_text(v / 10000, ".", v / 100 % 100, ".", v % 100);
}

}  // namespace fulcrum::cuda
