// IDX files, plain and gzipped.
#include <fulcrum/data/idx.h>

#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fulcrum;
  const auto path = fuzz::as_file({data, size});
  fuzz::refuses_or_reads([&] { load_idx_images(path); });
  return fuzz::refuses_or_reads([&] { load_idx_labels(path); });
}
