// Image files against PIL (tests/golden/images.py), damaged and hostile ones, resizing.
#include <cmath>
#include <cstdlib>
#include <limits>

#include <fulcrum/core/serialize.h>
#include <fulcrum/data/resized_crop.h>

#include "image_testing.h"

namespace fulcrum {
namespace {

const TensorFile& golden() {
  static const TensorFile file =
      load_tensors(std::filesystem::path(FULCRUM_SOURCE_DIR) / "tests/golden/images.safetensors");
  return file;
}

Bytes bytes_of(const std::string& name) {
  const Tensor& t = golden().tensors.at(name);
  return {t.data<uint8_t>(), t.data<uint8_t>() + t.numel()};
}

Image image_from(const std::string& name) {
  const Tensor& t = golden().tensors.at(name);
  return {t.size(0), t.size(1), t.size(2), bytes_of(name)};
}

/// Largest difference of two images of one shape.
int distance(const Image& a, const Image& b) {
  EXPECT_EQ(a.height, b.height);
  EXPECT_EQ(a.width, b.width);
  EXPECT_EQ(a.channels, b.channels);
  EXPECT_EQ(a.pixels.size(), static_cast<size_t>(a.height * a.width * a.channels));
  if (a.pixels.size() != b.pixels.size()) return 256;
  int largest = 0;
  for (size_t i = 0; i < a.pixels.size(); i++) largest = std::max(largest, std::abs(a.pixels[i] - b.pixels[i]));
  return largest;
}

bool can_read([[maybe_unused]] const std::string& name) {
#ifndef FULCRUM_WITH_JPEG
  if (name.starts_with("jpeg")) return false;
#endif
#ifndef FULCRUM_WITH_PNG
  if (name.starts_with("png")) return false;
#endif
  return true;
}

/// The names of the golden files that this build can read.
std::vector<std::string> files() {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : golden().tensors)
    if (name.ends_with(".file") && !name.starts_with("exif") && can_read(name))
      names.push_back(name.substr(0, name.size() - 5));
  return names;
}

TEST(ImageFile, EqualsPil) {
  for (const std::string& name : files()) {
    const int limit = name.starts_with("jpeg") ? 2 : 0;
    const Bytes file = bytes_of(name + ".file");
    const Image rgb = image_from(name + ".rgb");
    EXPECT_LE(distance(decode_image(file, {.channels = 3}, name), rgb), limit) << name;
    EXPECT_LE(distance(decode_image(file, {.channels = 1}, name), image_from(name + ".grey")), limit) << name;
    EXPECT_EQ(image_size(file, name), (ImageSize{rgb.height, rgb.width})) << name;
  }
}

TEST(ImageFile, ReadsFilesByContentNotByName) {
  const TemporaryDirectory dir;
  for (const std::string& name : files()) {
    const auto path = dir.write("picture.JPEG", bytes_of(name + ".file"));
    EXPECT_EQ(load_image(path, {.channels = 3}).pixels,
              decode_image(bytes_of(name + ".file"), {.channels = 3}, "").pixels);
  }
}

TEST(ImageFile, TheTestsOwnPngs) {
  if (!can_read("png")) GTEST_SKIP() << "a build without libpng";
  const Image colour = image_of(7, 5, 1), grey = image_of(3, 4, 2, 1);
  EXPECT_EQ(decode_image(png_file(colour), {.channels = 3}, "a").pixels, colour.pixels);
  EXPECT_EQ(decode_image(png_file(grey), {.channels = 1}, "a").pixels, grey.pixels);
}

TEST(ImageFile, RefusesWhatIsNoImage) {
  const TemporaryDirectory dir;
  const auto load = [](const std::filesystem::path& path) { return [path] { load_image(path, {.channels = 3}); }; };
  expect_error(load(dir.write("a.jpg", "")), {"[image] ", "a.jpg", "JPEG or PNG", "an empty one"});
  expect_error(load(dir.write("b.png", "hello, world")), {"b.png", "other first bytes"});
  expect_error(load(dir.path() / "no.png"), {"no.png: cannot open: No such file"});
  expect_error(load(dir.path()), {"expected a regular file"});
  expect_error([&] { decode_image(png_file(image_of(1, 1, 1)), {.channels = 2}, "x"); }, {"1 or 3 channels"});
}

TEST(ImageFile, TruncatedFilesNameTheFile) {
  for (const std::string& name : files()) {
    const Bytes whole = bytes_of(name + ".file");
    for (const size_t size : {size_t{9}, whole.size() / 3, whole.size() / 2}) {
      const Bytes part(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
      expect_error([&] { decode_image(part, {.channels = 3}, name); }, {"[image] " + name + ": corrupt "});
    }
    if (!name.starts_with("jpeg")) continue;
    const Bytes without_end(whole.begin(), whole.end() - 2);  // PIL refuses it, too
    expect_error([&] { decode_image(without_end, {.channels = 3}, name); }, {name, "Premature end"});
  }
}

// Whatever the bytes are: an image of the size that image_size says, or an Error.
TEST(ImageFile, DamagedFilesDoNoHarm) {
  int decoded = 0, refused = 0;
  for (const std::string& name : files()) {
    const Philox philox(7, 1);
    for (uint64_t round = 0; round < 60; round++) {
      Bytes file = bytes_of(name + ".file");
      for (uint64_t k = 0; k < 1 + round % 4; k++) {
        const uint64_t at = 8 * round + 2 * k;
        file[philox.below(at, static_cast<uint32_t>(file.size()))] = static_cast<uint8_t>(philox.below(at + 1, 256));
      }
      try {
        const Image image = decode_image(file, {.channels = 3}, name);
        EXPECT_EQ(image_size(file, name), (ImageSize{image.height, image.width}));
        decoded++;
      } catch (const Error&) {
        refused++;
      }
    }
    // The decoder that a thread keeps is as good as before.
    EXPECT_LE(distance(decode_image(bytes_of(name + ".file"), {.channels = 3}, name), image_from(name + ".rgb")), 2);
  }
  if (!files().empty()) {
    EXPECT_GT(decoded, 0);
    EXPECT_GT(refused, 0);
  }
}

TEST(ImageFile, HostileSizesAreRefusedBeforeMemory) {
  if (can_read("png")) {
    for (const auto& [height, width] : {std::pair(1u << 20, 1u << 20), {(1u << 28) + 1, 1u}}) {
      Bytes file = png_header(height, width, true);
      put_chunk(file, "IDAT", {0x78, 0x01});
      expect_error([&] { decode_image(file, {.channels = 3}, "big.png"); }, {"big.png: expected 1 to 268435456"});
      expect_error([&] { image_size(file, "big.png"); }, {"big.png: expected 1 to 268435456"});
    }
  }
  if (can_read("jpeg")) {
    Bytes file = bytes_of("jpeg_444.file");
    const Bytes frame = {0xFF, 0xC0};
    const auto at = std::search(file.begin(), file.end(), frame.begin(), frame.end());
    ASSERT_NE(at, file.end());
    std::fill_n(at + 5, 4, uint8_t{0xFD});  // height and width
    expect_error([&] { decode_image(file, {.channels = 3}, "big.jpg"); },
                 {"big.jpg: expected 1 to 268435456 pixels, got a height of 65021"});
  }
}

TEST(ImageFile, BuildsWithoutALibrarySayHowToGetIt) {
  if (!can_read("jpeg"))
    expect_error([] { decode_image(bytes_of("jpeg_444.file"), {.channels = 3}, "a.jpg"); },
                 {"a.jpg: is a JPEG", "-DFULCRUM_JPEG=ON", "libjpeg-dev"});
  if (!can_read("png"))
    expect_error([] { image_size(bytes_of("png_rgb.file"), "a.png"); },
                 {"a.png: is a PNG", "-DFULCRUM_PNG=ON", "libpng-dev"});
}

TEST(ImageFile, Extensions) {
  for (const char* name : {"a.jpg", "b.JPEG", "c.Png", "d/e.f.jpeg"}) EXPECT_TRUE(has_image_extension(name)) << name;
  for (const char* name : {"jpg", "a.jpgx", ".png", "a.webp", "a"}) EXPECT_FALSE(has_image_extension(name)) << name;
}

TEST(Resize, EqualsPilBitForBit) {
  const Image input = image_from("resize.input");
  int cases = 0;
  for (const auto& [name, tensor] : golden().tensors) {
    if (!name.starts_with("resize.") || name == "resize.input") continue;
    EXPECT_EQ(distance(resize(input, tensor.size(0), tensor.size(1)), image_from(name)), 0) << name;
    cases++;
  }
  EXPECT_EQ(cases, 7);
}

TEST(Resize, ShorterSideAndCropEqualTorchvision) {
  for (const char* number : {"0", "1", "2"}) {
    const Image input = image_from(std::string("crop.input.") + number);
    for (const int64_t size : {16, 25, 33}) {
      const std::string name = concat_text("crop.", number, ".", size);
      EXPECT_EQ(distance(center_crop(resize_shorter(input, size), size), image_from(name)), 0) << name;
    }
  }
}

TEST(Resize, PartsAreThoseOfTheWhole) {
  const Image input = image_from("resize.input");
  const CropBox boxes[] = {{0, 0, input.height, input.width}, {1, 2, 5, 7}, {3, 0, 1, 9}, {0, 4, 8, 1}};
  for (const CropBox& box : boxes)
    for (const auto& [height, width] : {std::pair{4, 5}, {11, 7}, {5, 30}, {1, 1}, {8, 9}}) {
      const Image part = resized_crop(input, box, height, width, std::vector<uint8_t>(7, 1));
      EXPECT_EQ(part.pixels, resize(crop(input, box), height, width).pixels)
          << box.top << " " << height << "x" << width;
    }
  for (const int64_t shorter : {6, 13, 40})
    for (const int64_t size : {1, 5, 6})
      EXPECT_EQ(resized_center(input, shorter, size).pixels, center_crop(resize_shorter(input, shorter), size).pixels)
          << shorter << " " << size;
}

TEST(Resize, OneChannelIsAnyOfThree) {
  const Image input = image_from("resize.input");
  Image green = {input.height, input.width, 1, {}};
  for (size_t i = 1; i < input.pixels.size(); i += 3) green.pixels.push_back(input.pixels[i]);
  const Image small = resize(input, 9, 11), small_green = resize(green, 9, 11);
  for (size_t i = 0; i < small_green.pixels.size(); i++) EXPECT_EQ(small_green.pixels[i], small.pixels[3 * i + 1]);
}

TEST(Resize, RefusesNonsense) {
  const Image image = image_of(4, 6, 1);
  expect_error([&] { resize(image, 0, 3); }, {"[resize] expected a size of 1 to", "got 0x3"});
  expect_error([&] { resize(image, 1 << 15, 1 << 15); }, {"[resize]"});
  expect_error([&] { center_crop(image, 5); }, {"[center_crop]", "4x6, got 5"});
}

TEST(ImageFile, OrientationIsThatOfPilWhereItIsAskedFor) {
  if (!can_read("jpeg")) GTEST_SKIP() << "a build without libjpeg";
  for (int orientation = 1; orientation <= 8; orientation++) {
    const std::string name = concat_text("exif.", orientation);
    const Bytes file = bytes_of(name + ".file");
    const Image turned = decode_image(file, {.exif_orientation = true}, name), expected = image_from(name);
    EXPECT_LE(distance(turned, expected), 2) << name;
    EXPECT_EQ(image_size(file, name, {.exif_orientation = true}), (ImageSize{expected.height, expected.width}));
    EXPECT_EQ(decode_image(file, {}, name).height, 8) << name;
    EXPECT_EQ(image_size(file, name).width, 13) << name;
    // Cut or damaged anywhere, EXIF data are no reason to fail.
    for (size_t i = 3; i < 60; i++) {  // behind what says that it is a JPEG
      Bytes damaged = file;
      damaged[i] ^= 0xFF;
      try {
        decode_image(damaged, {.exif_orientation = true}, name);
      } catch (const Error& error) {
        EXPECT_NE(std::string(error.what()).find("corrupt JPEG"), std::string::npos) << error.what();
      }
    }
  }
}

TEST(ImageFile, LargeJpegsAreReducedWhereItIsAskedFor) {
  if (!can_read("jpeg")) GTEST_SKIP() << "a build without libjpeg";
  const Bytes file = bytes_of("jpeg_444.file");  // 21x34
  const Image full = decode_image(file, {}, "a");
  const std::pair<double, ImageSize> cases[] = {{1, {21, 34}},  {0.6, {21, 34}}, {0.5, {11, 17}}, {0.3, {11, 17}},
                                                {0.25, {6, 9}}, {0.01, {3, 5}},  {2, {21, 34}}};
  for (const auto& [scale, size] : cases) {
    ImageSize asked;
    const auto needs = [&asked, least = scale](ImageSize s) { return asked = s, DecodeNeeds{.least_scale = least}; };
    const Image image = decode_image(file, {.needs = needs}, "a");
    EXPECT_EQ(asked, (ImageSize{21, 34}));
    EXPECT_EQ((ImageSize{image.height, image.width}), size) << scale;
    if (scale >= 0.6) {
      EXPECT_EQ(image.pixels, full.pixels);
    }
  }
  // On its side, the size that is asked with is the one that comes out.
  const Bytes turned = bytes_of("exif.6.file");
  ImageSize asked;
  decode_image(turned, {.exif_orientation = true, .needs = [&](ImageSize s) { return asked = s, DecodeNeeds(); }}, "a");
  EXPECT_EQ(asked, (ImageSize{13, 8}));
}

TEST(ImageFile, JpegsAreDecodedNoFurtherThanNeeded) {
  if (!can_read("jpeg")) GTEST_SKIP() << "a build without libjpeg";
  for (const std::string& name : files()) {
    if (!name.starts_with("jpeg")) continue;
    const Bytes file = bytes_of(name + ".file");
    for (const double scale : {1.0, 0.5}) {
      const auto decode = [&](const Bytes& bytes, int64_t rows) {
        return decode_image(bytes, {.needs = [&](ImageSize) { return DecodeNeeds{scale, rows}; }}, "a");
      };
      const Image full = decode(file, std::numeric_limits<int64_t>::max());
      for (const int64_t rows : {1, 7, 20, 21, 22}) {
        const Image part = decode(file, rows);
        EXPECT_EQ(part.pixels.size(), full.pixels.size());
        const auto wanted = static_cast<int64_t>(std::ceil(static_cast<double>(rows) * scale)) * full.width * 3;
        EXPECT_TRUE(std::equal(part.pixels.begin(), part.pixels.begin() + std::min(wanted, std::ssize(part.pixels)),
                               full.pixels.begin()))
            << name << " " << rows;
      }
    }
  }
}

// ---- RandomResizedCrop ----

TEST(ResizedCrop, PixelsAreThoseOfTorchvision) {
  const CropBox boxes[] = {{0, 0, 31, 45}, {3, 5, 20, 11}, {30, 44, 1, 1}, {10, 0, 7, 40}};
  const Image source = image_from("crop.input.0");
  for (size_t i = 0; i < std::size(boxes); i++)
    EXPECT_LE(distance(resize(crop(source, boxes[i]), 12, 9), image_from(concat_text("box.", i))), 1) << i;
  expect_error([&] { crop(source, {1, 0, 31, 45}); }, {"[crop] expected a box in an image of 31x45"});
}

TEST(ResizedCrop, BoxesHaveTheAreasAndRatiosAskedFor) {
  const ResizedCropOptions options = {0.2, 0.5, 0.5, 2};
  const Philox philox(5, streams::kResizedCrop);
  double area = 0, log_ratio = 0, centre = 0, least = 1, most = 0;
  constexpr int kDraws = 20'000;
  for (uint64_t k = 0; k < kDraws; k++) {
    const CropBox box = random_crop_box({400, 400}, options, philox, k);
    const double share = static_cast<double>(box.height * box.width) / 160'000.0;
    ASSERT_TRUE(box.top >= 0 && box.left >= 0 && box.top + box.height <= 400 && box.left + box.width <= 400);
    least = std::min(least, share), most = std::max(most, share);
    area += share / kDraws;
    log_ratio += std::log(static_cast<double>(box.width) / static_cast<double>(box.height)) / kDraws;
    centre += (static_cast<double>(box.left) + static_cast<double>(box.width) / 2) / 400 / kDraws;
  }
  EXPECT_NEAR(least, 0.2, 0.01);
  EXPECT_NEAR(most, 0.5, 0.01);
  EXPECT_NEAR(area, 0.35, 0.005);  // uniform; every part of these fits
  EXPECT_NEAR(log_ratio, 0, 0.01);
  EXPECT_NEAR(centre, 0.5, 0.005);
  EXPECT_EQ(random_crop_box({400, 400}, options, philox, 7), random_crop_box({400, 400}, options, philox, 7));
  // Nothing of a strip fits: its middle, with the nearest ratio.
  EXPECT_EQ(random_crop_box({4, 400}, {1, 1, 0.75, 1.5}, philox, 1), (CropBox{0, 197, 4, 6}));
  EXPECT_EQ(random_crop_box({400, 4}, {1, 1, 0.5, 1.5}, philox, 1), (CropBox{196, 0, 8, 4}));
  EXPECT_EQ(scaled_box({10, 20, 30, 40}, {100, 100}, {25, 50}), (CropBox{2, 10, 8, 20}));
  EXPECT_EQ(scaled_box({99, 99, 1, 1}, {100, 100}, {13, 13}), (CropBox{12, 12, 1, 1}));
}

}  // namespace
}  // namespace fulcrum
