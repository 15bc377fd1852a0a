// Images of either kind, told by their first bytes, as grey and as RGB.
#include <fulcrum/data/image_file.h>

#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fulcrum;
  return fuzz::refuses_or_reads([&] {
    const ImageSize claimed = image_size(std::span{data, size}, "input");
    if (claimed.height * claimed.width > 1 << 16) return;  // would only be slow
    for (const int64_t channels : {1, 3}) {
      const Image image = decode_image(std::span{data, size}, {.channels = channels}, "input");
      if (std::ssize(image.pixels) != claimed.height * claimed.width * channels) __builtin_trap();
    }
  });
}
