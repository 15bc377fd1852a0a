// Which plan was chosen for which problem, as lines of text, in memory and in the user's cache.
//
//   PlanStore plans;
//   plans.put({"sm_90 cudnn 9.19.0", "forward bf16 x [128, 32, 32, 16] …"}, "eng45_k2=4_k5=3");
//   plans.load(plans.text());
//
// A plan is known by its name, cuDNN's number of the engine and its settings, from which it is built
// again: without timing the others, but in up to seconds where cuDNN compiles it at run time (`build_s`
// of scripts/gpu_probe). No CUDA in here.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <string>

namespace fulcrum::cuda {

struct PlanKey {
  std::string environment;  // device and library: a plan means nothing elsewhere
  std::string problem;
  friend auto operator<=>(const PlanKey&, const PlanKey&) = default;
};

class PlanStore {
 public:
  std::optional<std::string> find(const PlanKey& key) const;
  /// Where a plan for this problem comes from, be it of another device or library.
  std::optional<std::string> environment_of(const std::string& problem) const;
  void put(const PlanKey& key, const std::string& plan);
  /// A line a plan, sorted, below a line that names the format.
  std::string text() const;
  /// Adds the plans of a text(), which win over those that are here. An Error, and no change, for
  /// anything else.
  void load(const std::string& text);

 private:
  mutable std::mutex mutex_;
  std::map<PlanKey, std::string> plans_;
};

/// The plans of this process: those that it loaded and those that it uses.
PlanStore& run_plans();

/// The user's cache of timed plans for an environment: a file in $XDG_CACHE_HOME/fulcrum, or
/// ~/.cache/fulcrum. Without either variable, or where the folder cannot be written, nothing is kept.
/// A file that is not such text is ignored with a warning on stderr.
std::optional<std::string> find_cached_plan(const PlanKey& key);
void cache_plan(const PlanKey& key, const std::string& plan);

}  // namespace fulcrum::cuda
