// The table of ops of `fulcrum bench`: time, work and share of the roof.
//
//   const nlohmann::json rows = print_profile([&] { step.train(); }, {}, /*by_shape=*/false);
#pragma once

#include <functional>

#include <nlohmann/json.hpp>

namespace fulcrum::apps {

/// Runs the step some times, prints a row for each op and returns the same rows: {"roof": {"gflop_per_s",
/// "gb_per_s"}, "ops": [{"op", "calls", "ms", "share", "gflop", "gb", "of_roof"}]}, all but the rates per step.
/// `settle` waits for a device; then nothing is known of its roof, and no share of it is given.
nlohmann::json print_profile(const std::function<void()>& step, std::function<void()> settle, bool by_shape);

}  // namespace fulcrum::apps
