// Hashes of a run's data, which must match when the run is resumed: experiment.h computes them, checkpoint.h stores
// them.
#pragma once

#include <cstdint>

namespace fulcrum::apps {

struct DataChecksums {
  uint64_t training = 0, test = 0;
  uint64_t others = 0;  // of the val part and further test sets; compared between processes, but not stored
};

}  // namespace fulcrum::apps
