// The cuDNN plan chosen for each convolution problem, in memory and, as lines of text, in the user's cache.
//
//   PlanStore plans;
//   plans.put({"sm_90 cudnn 9.19.0", "forward bf16 x [128, 32, 32, 16] …"}, "eng45_k2=4_k5=3");
//   plans.load(plans.text());
//
// A plan is stored by its name, which is cuDNN's engine number and settings, and rebuilt from it. That
// saves timing the alternatives, but takes up to seconds if cuDNN compiles the plan at run time
// (`build_s` of scripts/gpu_probe). This file contains no CUDA.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <string>

namespace fulcrum::cuda {

struct PlanKey {
  std::string environment;  // device and library; a plan is meaningless for others
  std::string problem;
  friend auto operator<=>(const PlanKey&, const PlanKey&) = default;
};

class PlanStore {
 public:
  std::optional<std::string> find(const PlanKey& key) const;
  /// Returns the environment of some plan for this problem, whatever device and library it is for.
  std::optional<std::string> environment_of(const std::string& problem) const;
  void put(const PlanKey& key, const std::string& plan);
  /// Returns a line that names the format, then one line per plan, sorted.
  std::string text() const;
  /// Adds the plans of a text(), which replace present ones for the same key. For any other text, throws Error and
  /// changes nothing.
  void load(const std::string& text);

 private:
  mutable std::mutex mutex_;
  std::map<PlanKey, std::string> plans_;
};

/// The plans that this process has loaded or uses.
PlanStore& run_plans();

/// Look up or add a plan in the user's cache of timed plans, a file per environment in $XDG_CACHE_HOME/fulcrum or
/// ~/.cache/fulcrum. Nothing is kept if neither XDG_CACHE_HOME nor HOME is set, or the folder cannot be written.
/// A malformed file is ignored with a warning on stderr.
std::optional<std::string> find_cached_plan(const PlanKey& key);
void cache_plan(const PlanKey& key, const std::string& plan);

}  // namespace fulcrum::cuda
