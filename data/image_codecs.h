// One codec a file: what image_file.cpp calls to decode, once it knows the kind. Internal to data/.
//
//   DecodedImage image = decode_jpeg(bytes, "a.jpg");   // in the layout that the file has
//
// A codec answers a header's claims with an Error before it allocates, and throws nothing through
// the C library that it calls.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <fulcrum/data/image_file.h>

namespace fulcrum {

enum class PixelLayout { kGrey, kRgb, kInvertedCmyk };

struct DecodedImage {
  ImageSize size;
  PixelLayout layout = PixelLayout::kRgb;
  std::vector<uint8_t> pixels;  // interleaved, 1, 3 or 4 bytes a pixel
};

/// Throws the Error "[image] name: reason".
[[noreturn]] void refuse_image(const std::string& name, const std::string& reason);
/// Refuses an image without pixels or with more than kMaxImagePixels.
void check_image_size(ImageSize size, const std::string& name);

/// `needs` is that of DecodeOptions. The pixels take `memory`.
DecodedImage decode_jpeg(std::span<const uint8_t> file, const std::string& name,
                         const std::function<DecodeNeeds(ImageSize)>& needs = {}, std::vector<uint8_t> memory = {});
ImageSize jpeg_size(std::span<const uint8_t> file, const std::string& name);
DecodedImage decode_png(std::span<const uint8_t> file, const std::string& name);
ImageSize png_size(std::span<const uint8_t> file, const std::string& name);

}  // namespace fulcrum
