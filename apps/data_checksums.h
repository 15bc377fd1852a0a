// Hashes of the data of a run, which a resumed run must find again: experiment.h makes them, checkpoint.h keeps them.
#pragma once

#include <cstdint>

namespace fulcrum::apps {

struct DataChecksums {
  uint64_t training = 0, test = 0;
  uint64_t others = 0;  // of a part val and further test sets: what processes compare, and no checkpoint keeps
};

}  // namespace fulcrum::apps
