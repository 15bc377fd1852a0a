#include "apps/bench_profile.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace fulcrum::apps {

namespace {

constexpr int kSteps = 5;

}  // namespace

BenchProfile measure_profile(const std::function<void()>& step, std::function<void()> settle, bool by_shape) {
  BenchProfile result;
  if (!settle) result.roof = measure_roof();
  Profile profile;
  profile.settle = std::move(settle);
  profile.by_shape = by_shape;
  step();
  {
    const Profiling on(profile);
    for (int i = 0; i < kSteps; i++) step();
  }
  result.rows.assign(profile.rows.begin(), profile.rows.end());
  std::ranges::sort(result.rows, [](const auto& a, const auto& b) { return a.second.seconds > b.second.seconds; });
  return result;
}

nlohmann::json print_profile(const BenchProfile& profile) {
  const auto& [roof, rows] = profile;
  nlohmann::json result = {{"ops", nlohmann::json::array()}};
  if (!roof) {
    fmt::print(
        "Timed op by op, without a graph, waiting for the device after each op: the sum exceeds the time of a step.\n");
  } else {
    result["roof"] = {{"gflop_per_s", roof->flop_per_s / 1e9}, {"gb_per_s", roof->bytes_per_s / 1e9}};
    fmt::print(
        "Roof: {:.0f} GFLOP/s of f32 multiply-adds, {:.0f} GB/s of memory, as measured. Work is counted by "
        "definition:\n"
        "a direct convolution, each tensor through memory once; Winograd convolution and caches may do better.\n\n",
        roof->flop_per_s / 1e9, roof->bytes_per_s / 1e9);
  }
  double total = 0;
  size_t width = 28;
  for (const auto& [name, row] : rows) {
    total += row.seconds;
    width = std::max(width, name.size() + 1);
  }
  fmt::print("{:<{}}{:>7}{:>11}{:>8}{:>9}{:>9}{:>9}{:>9}{}\n", "op", width, "calls", "ms / step", "share", "GFLOP",
             "GB", "GFLOP/s", "GB/s", roof ? "  of roof" : "");
  for (const auto& [name, row] : rows) {
    const double seconds = row.seconds / kSteps, gflop = row.work.flop / kSteps / 1e9,
                 gb = row.work.bytes / kSteps / 1e9;
    nlohmann::json op = {{"op", name},          {"calls", row.calls / kSteps},
                         {"ms", 1e3 * seconds}, {"share", row.seconds / total},
                         {"gflop", gflop},      {"gb", gb}};
    fmt::print("{:<{}}{:>7}{:>11.3f}{:>7.1f}%{:>9.3f}{:>9.4f}{:>9.1f}{:>9.2f}", name, width, row.calls / kSteps,
               1e3 * seconds, 100 * row.seconds / total, gflop, gb, gflop / seconds, gb / seconds);
    if (roof) {
      op["of_roof"] = roof->seconds(row.work) / row.seconds;
      fmt::print("{:>8.0f}%", 100 * op["of_roof"].get<double>());
    }
    fmt::print("\n");
    result["ops"].push_back(std::move(op));
  }
  return result;
}

}  // namespace fulcrum::apps
