#include <fulcrum/core/cuda/cudnn.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <iostream>
#include <map>
#include <mutex>
#include <optional>
#include <unordered_map>

#include <cuda_runtime_api.h>

#include <fulcrum/core/cuda/check.h>
#include <fulcrum/core/cuda/conv3x3.h>
#include <fulcrum/core/cuda/conv_graph.h>
#include <fulcrum/core/cuda/conv_trial.h>
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
  if (status == CUDNN_STATUS_SUCCESS) return;
  const std::string text = concat_text("[cuda] cuDNN: ", fe::detail::get_error_string(status), " from ", expression);
  if (status == CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED) fail_without_memory(text);
  fail(text);
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
    ConvTrial trial(problem_, here());
    Stopwatch watch;
    std::optional<int64_t> best;
    float shortest = std::numeric_limits<float>::infinity();
    int timed = 0;
    std::vector<int64_t> candidates = usable;
    if (has_own() && own_agrees(trial, usable)) candidates.insert(candidates.begin(), kOwn);
    for (int64_t i : candidates) {
      if (timed == kMostTimed) break;
      if (!build(i)) continue;
      timed++;
      const ConvPlan::Built candidate = built(i);
      try {
        Tensor scratch = workspace(candidate.workspace);
        const float time = watch.shortest([&] { candidate.run(trial.pointers(), scratch.raw()); }, shortest);
        if (time < shortest) shortest = time, best = i;
      } catch (const Error&) {
        // The plan needs too much memory or fails to run; another one may work. If the device itself has failed,
        // synchronize() throws.
        synchronize(compute_stream());
      }
    }
    return best;
  }

  // Our kernels are chosen by their speed alone: a wrong one, on a GPU that nobody has tried, would train in silence.
  bool own_agrees(ConvTrial& trial, const std::vector<int64_t>& usable) {
    try {
      conv3x3(problem_, trial.pointers());
      const Tensor own = trial.result().clone();
      const auto reference = first_that_runs(usable, trial);
      const double difference = reference ? trial.difference(own) : 0;
      if (difference <= ConvTrial::kAgrees) return true;
      std::cerr << "fulcrum: warning: " << kOwnName << " differs from cuDNN by " << difference
                << " of the largest element, and is not used for " << key_.problem << std::endl;
    } catch (const Error&) {
      synchronize(compute_stream());  // as in fastest()
    }
    return false;
  }

  std::optional<int64_t> first_that_runs(const std::vector<int64_t>& usable, const ConvTrial& trial) {
    for (int64_t i : usable) {
      if (!build(i)) continue;
      try {
        run(i, trial);
        return i;
      } catch (const Error&) {
        synchronize(compute_stream());
      }
    }
    return std::nullopt;
  }

  void run(int64_t index, const ConvTrial& trial) const {
    const ConvPlan::Built plan = built(index);
    Tensor scratch = workspace(plan.workspace);
    plan.run(trial.pointers(), scratch.raw());
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
