// CSV: iWildCam's metadata.csv, and its categories.csv after the first form feed.
#include <fulcrum/data/wilds.h>

#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fulcrum;
  static const fuzz::MemoryFile metadata, categories;
  static const fuzz::Folder folder({{"metadata.csv", metadata.path()}, {"categories.csv", categories.path()}});
  fuzz::write_parts({data, size}, {&metadata, &categories});
  return fuzz::refuses_or_reads([&] {
    for (const ImageListing& listing : list_wilds(folder.path(), {"train", "test"}))
      fuzz::expect_below(listing.root, listing.paths);
  });
}
