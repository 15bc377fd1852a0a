// Small images inside the page: uncompressed PNG, in base64.
//
//   std::string source = png_data_uri(pixels, 28, 28, 1);   // "data:image/png;base64,iVBOR…"
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace fulcrum::apps {

/// pixels u8 [height, width, channels], row-major, with 1 (grey) or 3 (RGB) channels. Images of more than 64 pixels a
/// side are averaged over squares until they fit.
std::string png_data_uri(const uint8_t* pixels, int64_t height, int64_t width, int64_t channels);

/// The PNG file itself, at the full size.
std::string encode_png(const uint8_t* pixels, int64_t height, int64_t width, int64_t channels);

std::string base64(std::string_view bytes);

}  // namespace fulcrum::apps
