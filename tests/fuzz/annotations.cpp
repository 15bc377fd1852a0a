// iNaturalist's annotations, JSON that is read as a stream.
#include <fulcrum/data/inaturalist.h>

#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fulcrum;
  return fuzz::refuses_or_reads([&] {
    const auto& file = fuzz::as_file({data, size});
    const auto [train, test] = list_inaturalist("/root-of-data", file, file);
    for (const ImageListing& listing : {train, test}) fuzz::expect_below(listing.root, listing.paths);
  });
}
