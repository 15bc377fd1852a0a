// What the program returns; a stopped run 128 + its signal.
#pragma once

namespace fulcrum::apps {

inline constexpr int kExitDone = 0, kExitFailed = 1, kExitUsage = 2, kExitNonFinite = 3;

}  // namespace fulcrum::apps
