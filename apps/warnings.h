// Warnings about settings that are allowed but most likely a mistake, and about results that say so.
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

/// Warnings about the data, the risk, the loss and what begins only after the last epoch; `class_counts` counts the
/// training samples.
std::vector<std::string> warnings_of(const Config& config, const std::vector<int64_t>& class_counts);

/// Advice for the first epoch whose mean loss is a thousand times that of guessing (`before`: the mean loss of the
/// epoch before, 0: none). Only non-finite numbers stop a run, but this one has diverged, too. Empty otherwise.
std::string divergence_warning(const Config& config, double loss, double before, int64_t classes);

/// A warning about a useless network in an evaluation on the test set: logits that are not finite, or a loss of more
/// than ten times that of guessing; empty otherwise.
std::string evaluation_warning(int64_t non_finite, double loss, int64_t classes);

}  // namespace fulcrum::apps
