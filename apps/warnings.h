// Settings that are allowed and most likely a mistake.
//
//   for (const std::string& warning : warnings_of(config, data.class_counts)) print("warning: " + warning);
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "apps/config.h"

namespace fulcrum::apps {

/// Those of the data, the risk and the loss, in words; `class_counts` are those of what is trained on.
std::vector<std::string> warnings_of(const Config& config, const std::vector<int64_t>& class_counts);

}  // namespace fulcrum::apps
