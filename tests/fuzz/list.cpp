// List files, with the number of classes given or not; a path that a listing takes stays below the root.
#include <fulcrum/data/image_list.h>

#include <algorithm>
#include <cctype>

#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fulcrum;
  // A label of four digits gives names to as many classes, which takes a hundred times what the rest does.
  const auto long_number = [](const uint8_t* at) {
    return std::all_of(at, at + 4, [](uint8_t c) { return std::isdigit(c); });
  };
  bool many = false;
  for (size_t i = 0; i + 4 <= size && !many; i++) many = long_number(data + i);
  return fuzz::refuses_or_reads([&] {
    const ImageListing listing =
        list_image_list("/root-of-data", fuzz::as_file({data, size}), many || size % 2 ? 100 : 0);
    fuzz::expect_below(listing.root, listing.paths);
  });
}
