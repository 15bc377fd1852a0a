// decode_jpeg, decode_png: the decoders (jpeg.cpp, png.cpp) that image_file.cpp calls. Internal to data/.
//
//   DecodedImage image = decode_jpeg(bytes, "a.jpg");   // in the layout of the file
//
// A decoder checks the header, and throws Error if it makes no sense, before it allocates. No exception
// passes through the C library that it calls.
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
  std::vector<uint8_t> pixels;  // interleaved, 1, 3 or 4 bytes per pixel
};

/// Throws the Error "[image] name: reason".
[[noreturn]] void refuse_image(const std::string& name, const std::string& reason);
/// Throws Error if the image has no pixels or more than kMaxImagePixels.
void check_image_size(ImageSize size, const std::string& name);

/// Decodes a JPEG. `needs` is as in DecodeOptions; the pixels reuse `memory`.
DecodedImage decode_jpeg(std::span<const uint8_t> file, const std::string& name,
                         const std::function<DecodeNeeds(ImageSize)>& needs = {}, std::vector<uint8_t> memory = {});
ImageSize jpeg_size(std::span<const uint8_t> file, const std::string& name);
DecodedImage decode_png(std::span<const uint8_t> file, const std::string& name);
ImageSize png_size(std::span<const uint8_t> file, const std::string& name);

}  // namespace fulcrum
