#include <fulcrum/data/exif.h>

#include <algorithm>
#include <string_view>
#include <utility>

namespace fulcrum {

namespace {

using Span = std::span<const uint8_t>;

/// Reads numbers in either of TIFF's byte orders; returns 0 beyond the end.
struct Tiff {
  Span bytes;
  bool big_endian;

  uint32_t number(size_t at, size_t size) const {
    if (at > bytes.size() || size > bytes.size() - at) return 0;
    uint32_t value = 0;
    for (size_t i = 0; i < size; i++) value = value << 8 | bytes[big_endian ? at + i : at + size - 1 - i];
    return value;
  }
};

int orientation_in_tiff(Span bytes) {
  const Tiff tiff{bytes, bytes.size() > 1 && bytes[0] == 'M'};
  if (tiff.number(2, 2) != 42) return 1;
  const size_t directory = tiff.number(4, 4), entries = tiff.number(directory, 2);
  for (size_t i = 0; i < entries; i++) {
    const size_t at = directory + 2 + 12 * i;
    if (tiff.number(at, 2) != 0x0112) continue;
    const uint32_t value = tiff.number(at + 8, 2);  // a single short, in the first two bytes of the value field
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

}  // namespace

int exif_orientation(Span jpeg) {
  constexpr std::string_view kExif("Exif\0\0", 6);
  size_t at = 2;  // after the start marker
  while (at + 4 <= jpeg.size() && jpeg[at] == 0xFF) {
    const uint8_t marker = jpeg[at + 1];
    if (marker == 0xFF) {  // padding
      at++;
      continue;
    }
    if (marker == 0xDA || marker == 0xD9) return 1;  // the pixels begin
    const size_t length = static_cast<size_t>(jpeg[at + 2]) << 8 | jpeg[at + 3];
    if (length < 2 || length > jpeg.size() - at - 2) return 1;
    const Span segment = jpeg.subspan(at + 4, length - 2);
    if (marker == 0xE1 && segment.size() >= kExif.size() &&
        std::equal(kExif.begin(), kExif.end(), segment.begin(),
                   [](char a, uint8_t b) { return static_cast<uint8_t>(a) == b; }))
      return orientation_in_tiff(segment.subspan(kExif.size()));
    at += 2 + length;
  }
  return 1;
}

Image oriented(Image image, int orientation) {
  if (orientation <= 1 || orientation > 8) return image;
  const bool swaps = orientation >= 5;
  Image out = {swaps ? image.width : image.height, swaps ? image.height : image.width, image.channels, {}};
  out.pixels.resize(image.pixels.size());
  // Whether the source's rows and columns are read in reverse order.
  const bool rows_back = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  const bool columns_back = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const auto at = [&](int64_t y, int64_t x) { return (y * image.width + x) * image.channels; };
  uint8_t* to = out.pixels.data();
  for (int64_t y = 0; y < out.height; y++) {
    for (int64_t x = 0; x < out.width; x++) {
      int64_t row = swaps ? x : y, column = swaps ? y : x;  // in the source
      if (rows_back) row = image.height - 1 - row;
      if (columns_back) column = image.width - 1 - column;
      to = std::copy_n(image.pixels.data() + at(row, column), image.channels, to);
    }
  }
  return out;
}

}  // namespace fulcrum
