// JPEG and PNG files as u8 pixels, equal to what PIL's Image.open(path).convert("RGB") gives.
//
//   Image image = load_image("train/cat/0001.jpg", {.channels = 3});   // u8 [H, W, 3]
//   ImageSize size = image_size("train/cat/0001.jpg");                 // reads the header alone
//
// The kind of a file is told from its first bytes, not from its name. Grey images fill all three
// channels, alpha and transparency are dropped, palettes are looked up, CMYK and YCCK are taken as
// Adobe writes them (inverted), 16-bit colours lose their lower byte and 16-bit greys are cut at
// 255 (both as PIL does). Colour profiles are ignored, and the orientation of EXIF unless it is asked
// for. One channel is PIL's convert("L") of the same. What does not decode completely is an Error that
// names the file.
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

/// Larger images are refused before memory is asked for: a file of a few bytes may claim any size.
inline constexpr int64_t kMaxImagePixels = int64_t{1} << 28;

/// What is wanted of an image, by which a JPEG may be decoded faster.
struct DecodeNeeds {
  /// A factor of the sides: the smallest of 1/8, 1/4, 1/2 and 1 that is as large is taken. The pixels are not
  /// those of decoding and resizing.
  double least_scale = 1;
  /// From the top, of the image at its full size. What is below them keeps its place in the pixels, but they may hold
  /// anything, and damage to it is not noticed.
  int64_t rows = std::numeric_limits<int64_t>::max();
};

struct DecodeOptions {
  int64_t channels = 3;  // 1 or 3
  /// Turns a JPEG as the orientation in its EXIF data says: PIL's ImageOps.exif_transpose.
  bool exif_orientation = false;
  /// Asked with the size of a JPEG, once its header is read. Empty: all of it, as it is.
  std::function<DecodeNeeds(ImageSize)> needs = {};
  /// An absolute path without links: a file that is a link is refused unless it leads to below it.
  std::string_view within = {};
};

/// A path is a string here: taking a std::filesystem::path apart costs as much as opening a small file. `memory`, the
/// pixels of an image that is no longer needed, saves an allocation.
Image load_image(const std::string& path, const DecodeOptions& options, std::vector<uint8_t> memory = {});
ImageSize image_size(const std::string& path, const DecodeOptions& options = {});

/// All bytes of a file that load_image would read, valid until this thread's next call; `within` as in DecodeOptions.
std::span<const uint8_t> read_image_file(const std::string& path, std::string_view within = {});

/// The same from memory; `name` stands for the file in messages.
Image decode_image(std::span<const uint8_t> file, const DecodeOptions& options, const std::string& name,
                   std::vector<uint8_t> memory = {});
ImageSize image_size(std::span<const uint8_t> file, const std::string& name, const DecodeOptions& options = {});

/// .jpg, .jpeg or .png in any case.
bool has_image_extension(const std::filesystem::path& path);

}  // namespace fulcrum
