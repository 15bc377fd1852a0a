// load_image: decodes JPEG and PNG files to the u8 pixels that PIL's Image.open(path).convert("RGB") gives.
//
//   Image image = load_image("train/cat/0001.jpg", {.channels = 3});   // u8 [H, W, 3]
//   ImageSize size = image_size("train/cat/0001.jpg");                 // decodes only the header
//
// The format is detected from the first bytes, not from the name. Grey images fill all three channels; alpha
// and transparency are dropped; palettes are looked up; CMYK and YCCK are assumed inverted, as Adobe
// writes them; 16-bit colours lose their lower byte, and 16-bit greys are clipped at 255 (both as in PIL).
// Colour profiles are ignored, and so is the EXIF orientation unless DecodeOptions asks for it. One channel
// is PIL's convert("L") of the same image. Throws Error, naming the file, if an image does not decode
// completely.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fulcrum {

/// u8 [height, width, channels].
struct Image {
  int64_t height = 0, width = 0, channels = 0;
  std::vector<uint8_t> pixels;
};

struct ImageSize {
  int64_t height = 0, width = 0;
  friend bool operator==(const ImageSize&, const ImageSize&) = default;
};

/// Larger images are refused before memory is allocated: a file of a few bytes may claim any size.
inline constexpr int64_t kMaxImagePixels = int64_t{1} << 28;

/// Which part of an image the caller needs; a JPEG may then be decoded faster.
struct DecodeNeeds {
  /// The least acceptable reduction of the sides. The decoder takes the smallest of 1/8, 1/4, 1/2 and 1 that is not
  /// below it. The pixels differ from those of decoding at full size and then resizing.
  double least_scale = 1;
  /// The number of rows needed, from the top, in the image at full size. The rows below are still part of the pixels,
  /// but their contents are unspecified, and damage there is not detected.
  int64_t rows = std::numeric_limits<int64_t>::max();
};

struct DecodeOptions {
  int64_t channels = 3;  // 1 or 3
  /// Turns a JPEG according to the orientation in its EXIF data, like PIL's ImageOps.exif_transpose.
  bool exif_orientation = false;
  /// Called with the size of a JPEG after its header is read. Empty: the whole image at full size.
  std::function<DecodeNeeds(ImageSize)> needs = {};
  /// An absolute path without links. If given, a file that is a link is refused unless it leads to a file below this
  /// path.
  std::string_view within = {};
};

/// Reads and decodes a file. The path is a string because parsing a std::filesystem::path costs as much as opening a
/// small file. `memory`, the pixels of an image that is no longer needed, saves an allocation.
Image load_image(const std::string& path, const DecodeOptions& options, std::vector<uint8_t> memory = {});
ImageSize image_size(const std::string& path, const DecodeOptions& options = {});

/// Reads all bytes of a file, with the same checks as load_image; `within` is as in DecodeOptions. The result is valid
/// until this thread's next call.
std::span<const uint8_t> read_image_file(const std::string& path, std::string_view within = {});

/// Like load_image and image_size, but from memory; `name` stands for the file in messages.
Image decode_image(std::span<const uint8_t> file, const DecodeOptions& options, const std::string& name,
                   std::vector<uint8_t> memory = {});
ImageSize image_size(std::span<const uint8_t> file, const std::string& name, const DecodeOptions& options = {});

/// Whether the name ends in .jpg, .jpeg or .png, in upper or lower case.
bool has_image_extension(const std::filesystem::path& path);

}  // namespace fulcrum
