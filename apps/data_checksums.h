// Hashes of the data of a run, which a resumed run must find again: experiment.h makes them, checkpoint.h keeps them.
#pragma once

#include <cstdint>

namespace fulcrum::apps {

struct DataChecksums {
  uint64_t training = 0, test = 0;
};

}  // namespace fulcrum::apps
