// Which settings change nothing beside the others: a step size under a cosine, the momentum of Adam.
//
//   if (const std::string text = no_effect("optim.momentum", config); !text.empty()) print("warning: " + text);
#pragma once

#include <string>

#include "apps/config.h"

namespace fulcrum::apps {

/// Says that `key` has no effect with the others of these settings, which finish() has seen; empty if it has one.
std::string no_effect(const std::string& key, const Config& config);

}  // namespace fulcrum::apps
