// Exit codes of the program. A run that a signal stops returns 128 + the signal's number.
#pragma once

namespace fulcrum::apps {

inline constexpr int kExitDone = 0, kExitFailed = 1, kExitUsage = 2, kExitNonFinite = 3;

}  // namespace fulcrum::apps
