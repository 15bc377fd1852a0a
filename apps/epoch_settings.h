// The settings that name an epoch at which something begins.
//
//   for (const EpochSetting& s : epoch_settings(config))
//     if (s.active && *s.epoch >= config.train.epochs) …   // s.key: never comes
#pragma once

#include <cstdint>
#include <vector>

#include "apps/config.h"

namespace fulcrum::apps {

struct EpochSetting {
  const char* key;
  int64_t* epoch;         // in the config
  bool active;            // has an effect, given the other settings
  const char* otherwise;  // the warning of a run that ends before it; empty: none
};

/// All of them; the schedule's are the warm-up and the milestones of a multistep schedule.
std::vector<EpochSetting> epoch_settings(Config& config);

}  // namespace fulcrum::apps
