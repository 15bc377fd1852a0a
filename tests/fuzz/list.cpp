// List files; a path that a listing takes stays below the root.
#include <fulcrum/data/image_list.h>

#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fulcrum;
  return fuzz::refuses_or_reads([&] {
    const ImageListing listing = list_image_list("/root-of-data", fuzz::as_file({data, size}));
    for (const auto& file : listing.paths) {
      const std::string path = (listing.root / file).lexically_normal();
      if (!path.starts_with("/root-of-data")) __builtin_trap();
    }
  });
}
