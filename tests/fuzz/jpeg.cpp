// JPEG images, in both numbers of channels.
#include <fulcrum/data/image_codecs.h>

#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fulcrum;
  return fuzz::refuses_or_reads([&] {
    // Larger ones would only be slow.
    const ImageSize size_of_it = jpeg_size({data, size}, "input");
    if (size_of_it.height * size_of_it.width <= 1 << 16) decode_jpeg({data, size}, "input");
  });
}
