// Grids in TOML.
#include "apps/grid/grid.h"

#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fulcrum;
  return fuzz::refuses_or_reads([&] { apps::load_grid(fuzz::as_file({data, size})); });
}
