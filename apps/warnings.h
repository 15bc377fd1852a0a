// Settings that are allowed and most likely a mistake.
//
//   for (const std::string& warning : warnings_of(config, data.class_counts)) print("warning: " + warning);
//   const std::string text = divergence_warning(config, loss, loss_before, classes);
//   if (!text.empty()) print("warning: " + text);
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "apps/config.h"

namespace fulcrum::apps {

/// Those of the data, the risk and the loss, in words; `class_counts` are those of what is trained on.
std::vector<std::string> warnings_of(const Config& config, const std::vector<int64_t>& class_counts);

/// What to do about an epoch whose mean loss is a thousand times that of guessing, and the one `before` (0: there is none)
/// had not: finite numbers stop no run, and nothing comes of it. Empty where it is not so.
std::string divergence_warning(const Config& config, double loss, double before, int64_t classes);

/// What an evaluation on the test set says of a network that is no use: logits that are not finite, or a loss of many times
/// that of guessing; empty for others.
std::string evaluation_warning(int64_t non_finite, double loss, int64_t classes);

}  // namespace fulcrum::apps
