// Refusals of settings: each names the key, the value and what is expected.
//
//   one_of("risk.name", c.risk.name, {"mean", "kl"});
//   at_least("train.epochs", c.train.epochs, 1);
//   in_range("loss.gce_q", c.loss.gce_q, 0, 1, "(0, 1]");
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "apps/config.h"

namespace fulcrum::apps {

inline constexpr double kInfinity = std::numeric_limits<double>::infinity();

template <class... Parts>
[[noreturn]] void usage(const Parts&... parts) {
  throw UsageError(concat_text(parts...));
}

inline void one_of(const std::string& key, const std::string& value, const std::vector<std::string>& allowed) {
  if (std::ranges::find(allowed, value) != allowed.end()) return;
  std::string list;
  for (const auto& a : allowed) list += (list.empty() ? "" : ", ") + a;
  usage(key, ": expected one of ", list, "; got '", value, "'");
}

inline void at_least(const std::string& key, double value, double low) {
  if (!(value >= low)) usage(key, ": expected at least ", low, ", got ", value);
}

/// For a whole number that the engine keeps in 32 bits.
inline void count(const std::string& key, int64_t value, int64_t low,
                  int64_t high = std::numeric_limits<int32_t>::max()) {
  at_least(key, static_cast<double>(value), static_cast<double>(low));
  if (value > high) usage(key, ": expected at most ", high, ", got ", value);
}

/// `interval` is how the range is written: a bracket includes its end, a parenthesis does not.
inline void in_range(const std::string& key, double value, double low, double high, const std::string& interval) {
  const bool above = interval.front() == '[' ? value >= low : value > low;
  const bool below = interval.back() == ']' ? value <= high : value < high;
  if (!above || !below) usage(key, ": expected a number in ", interval, ", got ", value);
}

}  // namespace fulcrum::apps
