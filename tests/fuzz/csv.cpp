// CSV: iWildCam's metadata.csv, and its categories.csv after the first form feed.
#include <fulcrum/data/wilds.h>

#include <algorithm>

#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fulcrum;
  static const fuzz::MemoryFile metadata, categories;
  static const fuzz::Folder folder({{"metadata.csv", metadata.path()}, {"categories.csv", categories.path()}});
  const uint8_t* end = std::find(data, data + size, '\f');
  metadata.write({data, end});
  categories.write({std::min(end + 1, data + size), data + size});
  return fuzz::refuses_or_reads([&] {
    for (const ImageListing& listing : list_wilds(folder.path(), {"train", "test"}))
      fuzz::expect_below(listing.root, listing.paths);
  });
}
