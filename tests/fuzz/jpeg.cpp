// JPEG images: whole, and reduced or down to a row that the last byte says, whose pixels are those of the whole.
#include <fulcrum/data/image_codecs.h>

#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fulcrum;
  return fuzz::refuses_or_reads([&] {
    const std::span<const uint8_t> file = {data, size};
    const ImageSize claimed = jpeg_size(file, "input");
    if (claimed.height * claimed.width > 1 << 16) return;  // would only be slow
    const DecodeNeeds needs = {.least_scale = 1.0 / (1 + file.back() / 64), .rows = file.back() % 64};
    const DecodedImage part = decode_jpeg(file, "input", [&](ImageSize) { return needs; });
    const DecodedImage whole = decode_jpeg(file, "input", [&](ImageSize) { return DecodeNeeds{needs.least_scale}; });
    if (part.pixels.size() != whole.pixels.size()) __builtin_trap();
    const int64_t rows = std::min(whole.size.height, needs.rows * whole.size.height / claimed.height);
    const auto bytes = std::ssize(whole.pixels) / whole.size.height * rows;
    if (!std::equal(whole.pixels.begin(), whole.pixels.begin() + bytes, part.pixels.begin())) __builtin_trap();
  });
}
