// Text tables: transition matrices and index lists.
#include <fulcrum/data/imbalance.h>
#include <fulcrum/data/noise.h>

#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fulcrum;
  const auto path = fuzz::as_file({data, size});
  fuzz::refuses_or_reads([&] { load_transition_matrix(path, 3); });
  return fuzz::refuses_or_reads([&] {
    for (const int64_t i : load_indices(path, 1000))
      if (i < 0 || i >= 1000) __builtin_trap();
  });
}
