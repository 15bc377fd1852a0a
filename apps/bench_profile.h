// The op table of `fulcrum bench`: time, work and share of the roof (roof.h).
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
  std::optional<Roof> roof;                              // CPU only
  std::vector<std::pair<std::string, ProfileRow>> rows;  // one per op, longest first
};

/// Profiles a few calls of `step`. `settle` waits for the device; if it is given (GPU), no roof is measured and no
/// share of it is reported. Where several processes call this together, each measures its own share of the machine's
/// roof.
BenchProfile measure_profile(const std::function<void()>& step, std::function<void()> settle, bool by_shape);

/// Prints a row for each op and returns the same rows: {"roof": {"gflop_per_s", "gb_per_s"}, "ops": [{"op", "calls",
/// "ms", "share", "gflop", "gb", "of_roof"}]}. Calls, ms, gflop and gb are per step.
nlohmann::json print_profile(const BenchProfile& profile);

}  // namespace fulcrum::apps
