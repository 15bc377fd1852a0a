// Seconds on the monotonic clock.
//
//   const auto start = Clock::now();
//   seconds_since(start);
#pragma once

#include <chrono>

namespace fulcrum::apps {

using Clock = std::chrono::steady_clock;

inline double seconds_of(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }
inline double seconds_since(Clock::time_point start) { return seconds_of(Clock::now() - start); }

}  // namespace fulcrum::apps
