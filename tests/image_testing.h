// What the tests of image data share: PNG files of given pixels, written without a library.
//
//   dir.write("train/cat/1.png", png_file(image_of(4, 6, /*seed=*/1)));
#pragma once

#include <array>
#include <string_view>

#include <fulcrum/core/random.h>
#include <fulcrum/data/image_file.h>
#include <fulcrum/data/loader.h>

#include "data_testing.h"

namespace fulcrum {

inline void put_big_endian(Bytes& out, uint32_t word) {
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<uint8_t>(word >> shift));
}

inline uint32_t crc32_of(const Bytes& bytes) {
  uint32_t crc = 0xFFFFFFFFu;
  for (const uint8_t byte : bytes) {
    crc ^= byte;
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
  }
  return ~crc;
}

inline void put_chunk(Bytes& out, std::string_view kind, const Bytes& data) {
  put_big_endian(out, static_cast<uint32_t>(data.size()));
  Bytes covered(kind.begin(), kind.end());
  covered.insert(covered.end(), data.begin(), data.end());
  out.insert(out.end(), covered.begin(), covered.end());
  put_big_endian(out, crc32_of(covered));
}

/// Signature and IHDR of an 8-bit PNG of any claimed size.
inline Bytes png_header(uint32_t height, uint32_t width, bool colour) {
  Bytes out = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'}, header;
  put_big_endian(header, width);
  put_big_endian(header, height);
  header.insert(header.end(), {8, static_cast<uint8_t>(colour ? 2 : 0), 0, 0, 0});
  put_chunk(out, "IHDR", header);
  return out;
}

/// The image as a PNG, in one stored block of deflate: rows of less than 64 KiB together.
inline Bytes png_file(const Image& image) {
  const auto row_bytes = static_cast<size_t>(image.width * image.channels);
  Bytes rows;
  for (size_t y = 0; y < static_cast<size_t>(image.height); y++) {
    rows.push_back(0);
    const auto begin = image.pixels.begin() + static_cast<std::ptrdiff_t>(y * row_bytes);
    rows.insert(rows.end(), begin, begin + static_cast<std::ptrdiff_t>(row_bytes));
  }
  const auto length = static_cast<uint16_t>(rows.size());
  check(rows.size() == length, "png_file: ", rows.size(), " bytes do not fit into one block");
  const auto low = [](uint16_t v) { return static_cast<uint8_t>(v & 0xFF); };
  const auto high = [](uint16_t v) { return static_cast<uint8_t>(v >> 8); };
  const auto inverse = static_cast<uint16_t>(~length);
  Bytes data = {0x78, 0x01, 1, low(length), high(length), low(inverse), high(inverse)};
  data.insert(data.end(), rows.begin(), rows.end());
  uint32_t a = 1, b = 0;  // Adler-32
  for (const uint8_t byte : rows) a = (a + byte) % 65521, b = (b + a) % 65521;
  put_big_endian(data, b << 16 | a);
  Bytes out = png_header(static_cast<uint32_t>(image.height), static_cast<uint32_t>(image.width), image.channels == 3);
  put_chunk(out, "IDAT", data);
  put_chunk(out, "IEND", {});
  return out;
}

/// Noise, other for each seed.
inline Image image_of(int64_t height, int64_t width, uint64_t seed, int64_t channels = 3) {
  Image image = {height, width, channels, {}};
  const Philox philox(seed, 99);
  for (uint64_t i = 0; i < static_cast<uint64_t>(height * width * channels); i++)
    image.pixels.push_back(static_cast<uint8_t>(philox.below(i, 256)));
  return image;
}

/// Tests of image files that they write.
class ImageData : public ::testing::Test {
 protected:
  void SetUp() override {
#ifndef FULCRUM_WITH_PNG
    GTEST_SKIP() << "a build without libpng";
#endif
  }
  void add(const std::string& path, uint64_t seed, int64_t height = 4, int64_t width = 6) {
    dir_.write(path, png_file(image_of(height, width, seed)));
  }
  /// train and test with cat, dog and "a b", some images each, the k-th written with seed k.
  void add_folders() {
    for (const char* part : {"train", "test"})
      for (const char* name : {"dog", "cat", "a b"})
        for (int i = 0; i < 4; i++) add(concat_text(part, "/", name, "/", i, ".png"), ++seed_);
  }
  const std::filesystem::path& root() const { return dir_.path(); }

  TemporaryDirectory dir_;
  uint64_t seed_ = 0;
};

inline std::vector<uint8_t> pixels_of(const Dataset& data, int64_t index) {
  std::vector<uint8_t> pixels(static_cast<size_t>(data.image_shape().numel()));
  data.read(index, pixels.data());
  return pixels;
}

/// The images of an epoch of augmented batches.
inline std::vector<std::vector<double>> batches_of(const Dataset& data, int workers) {
  const Loader loader(data, {.batch_size = 5,
                             .shuffle = true,
                             .augment = {.pad = 1, .flip = true, .seed = 2},
                             .seed = 3,
                             .workers = workers});
  std::vector<std::vector<double>> all;
  for (const Batch& batch : loader.epoch(1)) all.push_back(batch.images.to_vector());
  return all;
}

}  // namespace fulcrum
