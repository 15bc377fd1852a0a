#include "apps/report/png.h"

#include <algorithm>
#include <array>
#include <vector>

namespace fulcrum::apps {

namespace {

constexpr int64_t kMostPixels = 64;  // per side

std::string big_endian(uint32_t v) {
  return {static_cast<char>(v >> 24), static_cast<char>(v >> 16), static_cast<char>(v >> 8), static_cast<char>(v)};
}

uint32_t crc32(std::string_view bytes) {
  static const auto table = [] {
    std::array<uint32_t, 256> t{};
    for (uint32_t i = 0; i < 256; i++) {
      t[i] = i;
      for (int bit = 0; bit < 8; bit++) t[i] = t[i] & 1 ? 0xEDB88320u ^ t[i] >> 1 : t[i] >> 1;
    }
    return t;
  }();
  uint32_t crc = ~0u;
  for (const char c : bytes) crc = table[(crc ^ static_cast<uint8_t>(c)) & 0xFF] ^ crc >> 8;
  return ~crc;
}

uint32_t adler32(std::string_view bytes) {
  uint32_t a = 1, b = 0;
  for (const char c : bytes) {
    a = (a + static_cast<uint8_t>(c)) % 65521;
    b = (b + a) % 65521;
  }
  return b << 16 | a;
}

std::string chunk(const std::string& type, const std::string& body) {
  const std::string checked = type + body;
  return big_endian(static_cast<uint32_t>(body.size())) + checked + big_endian(crc32(checked));
}

// A zlib stream of stored blocks: the images are a few kB, and the build may lack zlib.
std::string stored(std::string_view bytes) {
  std::string out = "\x78\x01";
  const std::string sum = big_endian(adler32(bytes));
  do {
    const size_t n = std::min<size_t>(bytes.size(), 0xFFFF);
    out += static_cast<char>(n == bytes.size());
    for (const size_t v : {n, ~n}) out += {static_cast<char>(v), static_cast<char>(v >> 8)};
    out += bytes.substr(0, n);
    bytes.remove_prefix(n);
  } while (!bytes.empty());
  return out + sum;
}

}  // namespace

std::string encode_png(const uint8_t* pixels, int64_t height, int64_t width, int64_t channels) {
  std::string header = big_endian(static_cast<uint32_t>(width));
  header += big_endian(static_cast<uint32_t>(height));
  const char grey = 0, rgb = 2;
  header += {8, channels == 1 ? grey : rgb, 0, 0, 0};  // 8 bits, deflate, no filter, no interlace
  std::string rows;
  for (int64_t y = 0; y < height; y++) {
    rows += '\0';
    rows.append(reinterpret_cast<const char*>(pixels + y * width * channels), static_cast<size_t>(width * channels));
  }
  return "\x89PNG\r\n\x1A\n" + chunk("IHDR", header) + chunk("IDAT", stored(rows)) + chunk("IEND", "");
}

std::string base64(std::string_view bytes) {
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t word = 0;
    for (size_t k = 0; k < 3; k++) word = word << 8 | (i + k < bytes.size() ? static_cast<uint8_t>(bytes[i + k]) : 0u);
    for (size_t k = 0; k < 4; k++) out += i + k <= bytes.size() ? kDigits[word >> (18 - 6 * k) & 63] : '=';
  }
  return out;
}

std::string png_data_uri(const uint8_t* pixels, int64_t height, int64_t width, int64_t channels) {
  const int64_t step = (std::max(height, width) + kMostPixels - 1) / kMostPixels;
  const int64_t h = (height + step - 1) / step, w = (width + step - 1) / step;
  std::vector<uint8_t> small(static_cast<size_t>(h * w * channels));
  for (int64_t i = 0; i < h * w * channels; i++) {
    const int64_t c = i % channels, x0 = i / channels % w * step, y0 = i / channels / w * step;
    int64_t sum = 0, count = 0;
    for (int64_t y = y0; y < std::min(y0 + step, height); y++)
      for (int64_t x = x0; x < std::min(x0 + step, width); x++, count++) sum += pixels[(y * width + x) * channels + c];
    small[static_cast<size_t>(i)] = static_cast<uint8_t>((sum + count / 2) / count);
  }
  return "data:image/png;base64," + base64(encode_png(small.data(), h, w, channels));
}

}  // namespace fulcrum::apps
