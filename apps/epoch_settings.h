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
  bool active;            // with the other settings of the config it does something
  const char* otherwise;  // what a run says that ends before it; empty: nothing
};

/// Those of the schedule are the warm-up and the milestones of a multistep schedule.
std::vector<EpochSetting> epoch_settings(Config& config);

}  // namespace fulcrum::apps
