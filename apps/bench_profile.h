// The table of ops of `fulcrum bench`: time, work and share of the roof.
//
//   const BenchProfile profile = measure_profile([&] { step.train(); }, {}, /*by_shape=*/false);
//   const nlohmann::json rows = print_profile(profile);
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <fulcrum/core/profile.h>

#include "apps/roof.h"

namespace fulcrum::apps {

struct BenchProfile {
  std::optional<Roof> roof;                              // of the CPU
  std::vector<std::pair<std::string, ProfileRow>> rows;  // by op, the longest first
};

/// Runs the step some times. `settle` waits for a device; then nothing is known of its roof, and no share of it is
/// given. Several processes do it together: the roof of each is then its share of the machine, too.
BenchProfile measure_profile(const std::function<void()>& step, std::function<void()> settle, bool by_shape);

/// Prints a row for each op and returns the same rows: {"roof": {"gflop_per_s", "gb_per_s"}, "ops": [{"op", "calls",
/// "ms", "share", "gflop", "gb", "of_roof"}]}, all but the rates per step.
nlohmann::json print_profile(const BenchProfile& profile);

}  // namespace fulcrum::apps
