#include <fulcrum/optim/schedule.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>
#include <numeric>

#include <fulcrum/core/check.h>

namespace fulcrum {

Schedule::Schedule(ScheduleOptions options) : options_(std::move(options)) {
  const ScheduleOptions& o = options_;
  const auto known = {"constant", "multistep", "step", "cosine"};
  check(std::ranges::find(known, o.kind) != known.end(),
        "[schedule] expected constant, multistep, step or cosine, got '", o.kind, "'");
  check(o.epochs > 0, "[schedule] expected epochs > 0, got ", o.epochs);
  check(o.step_size > 0, "[schedule] expected step_size > 0, got ", o.step_size);
  check(o.warmup >= 0, "[schedule] expected warmup >= 0, got ", o.warmup);
  check(o.min_factor >= 0, "[schedule] expected min_factor >= 0, got ", o.min_factor);
  check(o.gamma > 0, "[schedule] expected gamma > 0, got ", o.gamma);
  check(o.factors.empty() || o.factors.size() == o.milestones.size(), "[schedule] expected a factor for each of the ",
        o.milestones.size(), " milestones, got ", o.factors.size());
  for (const double f : o.factors) check(f > 0, "[schedule] expected factors > 0, got ", f);
  check(std::ranges::is_sorted(o.milestones), "[schedule] expected milestones in growing order");
}

double Schedule::factor(int epoch) const {
  check(epoch >= 0, "[schedule] expected an epoch >= 0, got ", epoch);
  const ScheduleOptions& o = options_;
  if (epoch < o.warmup) return static_cast<double>(epoch + 1) / o.warmup;
  if (o.kind == "multistep") {
    const auto passed = std::ranges::count_if(o.milestones, [&](int m) { return epoch >= m; });
    if (o.factors.empty()) return std::pow(o.gamma, static_cast<double>(passed));
    return std::accumulate(o.factors.begin(), o.factors.begin() + passed, 1.0, std::multiplies<>());
  }
  if (o.kind == "step") return std::pow(o.gamma, epoch / o.step_size);
  if (o.kind == "cosine") {
    const double length = std::max(1, o.epochs - o.warmup);
    const double progress = std::min(1.0, (epoch - o.warmup) / length);
    return o.min_factor + (1 - o.min_factor) * 0.5 * (1 + std::cos(std::numbers::pi * progress));
  }
  return 1;
}

}  // namespace fulcrum
