// Colour operations and RandAugment against torchvision on PIL images (tests/golden/colours.py), colour jitter,
// and what the loader makes of them.
#include <fulcrum/core/augment_rules.h>
#include <fulcrum/core/serialize.h>
#include <fulcrum/data/color_jitter.h>
#include <fulcrum/data/image_ops.h>
#include <fulcrum/data/loader.h>
#include <fulcrum/data/rand_augment.h>

#include "image_testing.h"

namespace fulcrum {
namespace {

const TensorMap& golden() {
  static const TensorFile file =
      load_tensors(std::filesystem::path(FULCRUM_SOURCE_DIR) / "tests/golden/colours.safetensors");
  return file.tensors;
}

Image image_named(const std::string& name) {
  const Tensor& t = golden().at(name);
  return {t.size(0), t.size(1), t.size(2), {t.data<uint8_t>(), t.data<uint8_t>() + t.numel()}};
}

std::vector<std::string> split(const std::string& name) {
  std::vector<std::string> words(1);
  for (const char c : name) {
    // The dots of a number stay: only the first two separate.
    if (c == '.' && (words.size() < 3 || words[0] == "rand")) words.emplace_back();
    else words.back() += c;
  }
  return words;
}

void expect_pixels(const Image& got, const std::string& name) {
  const Image expected = image_named(name);
  ASSERT_EQ(got.pixels.size(), expected.pixels.size()) << name;
  int worst = 0;
  for (size_t i = 0; i < got.pixels.size(); i++) worst = std::max(worst, std::abs(got.pixels[i] - expected.pixels[i]));
  EXPECT_EQ(worst, 0) << name;
}

TEST(Colours, AreThoseOfTorchvisionOnPilImages) {
  const std::map<std::string, void (*)(Image&, double)> functions = {{"brightness", adjust_brightness},
                                                                     {"contrast", adjust_contrast},
                                                                     {"saturation", adjust_saturation},
                                                                     {"sharpness", adjust_sharpness},
                                                                     {"hue", adjust_hue}};
  int seen = 0;
  for (const auto& [name, tensor] : golden()) {
    const auto words = split(name);
    const auto found = functions.find(words[0]);
    if (found == functions.end()) continue;
    Image image = image_named("input." + words[1]);
    found->second(image, std::stod(words[2]));
    expect_pixels(image, name);
    seen++;
  }
  EXPECT_EQ(seen, 5 * (4 * 4 + 4));
}

TEST(Colours, EveryHueTurnsAsInPil) {
  for (const char* turn : {"-0.5", "-0.1", "0.0", "0.27"}) {
    Image image = image_named("hue_all");
    adjust_hue(image, std::stod(turn));
    expect_pixels(image, std::string("hue_all.") + turn);
  }
}

TEST(Colours, RefuseFactorsThatMeanNothing) {
  Image image = image_of(2, 2, 1);
  expect_error([&] { adjust_contrast(image, -0.1); }, {"[adjust_contrast] expected a factor of at least 0, got -0.1"});
  expect_error([&] { adjust_hue(image, 0.6); }, {"[adjust_hue] expected a turn in [-0.5, 0.5], got 0.6"});
  expect_error([&] { posterize(image, 9); }, {"[posterize] expected 0 to 8 bits, got 9"});
}

TEST(RandAugment, OperationsAreThoseOfTorchvision) {
  int seen = 0;
  for (const auto& [name, tensor] : golden()) {
    if (!name.starts_with("rand.")) continue;
    const auto words = split(name);
    const auto op = static_cast<RandAugmentOp>(std::stoi(words[2]));
    expect_pixels(apply_rand_augment(image_named("input." + words[1]), op, std::stoi(words[3]), words[4] == "1"), name);
    seen++;
  }
  EXPECT_EQ(seen, 5 * 3 * (5 + 9 * 2));
  expect_error([] { apply_rand_augment(image_of(2, 2, 1), RandAugmentOp::kRotate, 31, false); },
               {"[rand_augment] expected a magnitude of 0 to 30, got 31"});
}

TEST(RandAugment, DrawsEveryOperationAndBothSigns) {
  const Philox philox(3, streams::kRandAugment);
  std::map<std::vector<uint8_t>, int> results;
  const Image image = image_of(16, 16, 5);
  for (uint64_t counter = 0; counter < 400; counter++)
    results[rand_augment(image, {.ops = 1, .magnitude = 12}, philox, counter).pixels]++;
  // Nine operations have two results, five one; PIL's equalize and autocontrast leave noise nearly as it is.
  EXPECT_GE(results.size(), 21u);
  EXPECT_LE(results.size(), 23u);
  EXPECT_EQ(rand_augment(image, {.ops = 0}, philox, 7).pixels, image.pixels);
  EXPECT_EQ(rand_augment(image, {.ops = 3}, philox, 7).pixels, rand_augment(image, {.ops = 3}, philox, 7).pixels);
}

TEST(ColorJitter, FactorsAreUniformAndEveryOrderComes) {
  const ColorJitterOptions o = {.brightness = 0.4, .contrast = 2, .saturation = 0.2, .hue = 0.1};
  const Philox philox(1, streams::kColorJitter);
  constexpr int kDraws = 6000;
  std::map<std::array<int, 4>, int> orders;
  std::array<double, 4> sum{}, least, most{};
  least.fill(9);
  most.fill(-9);
  for (uint64_t i = 0; i < kDraws; i++) {
    const ColorJitterDraw draw = draw_color_jitter(o, philox, i);
    orders[draw.order]++;
    for (size_t k = 0; k < 4; k++) {
      sum[k] += draw.values[k] / kDraws;
      least[k] = std::min(least[k], draw.values[k]);
      most[k] = std::max(most[k], draw.values[k]);
    }
  }
  const double low[] = {0.6, 0, 0.8, -0.1}, high[] = {1.4, 3, 1.2, 0.1};
  for (size_t k = 0; k < 4; k++) {
    const double range = high[k] - low[k];
    EXPECT_NEAR(least[k], low[k], range / 100);
    EXPECT_GE(least[k], low[k]);
    EXPECT_NEAR(most[k], high[k], range / 100);
    EXPECT_LE(most[k], high[k]);
    EXPECT_NEAR(sum[k], (low[k] + high[k]) / 2, range / 50);
  }
  EXPECT_EQ(orders.size(), 24u);
  for (const auto& [order, n] : orders) EXPECT_NEAR(n, kDraws / 24, 70);
}

TEST(ColorJitter, OfBrightnessIsABlendWithBlack) {
  const Philox philox(1, streams::kColorJitter);
  for (uint64_t i = 0; i < 20; i++) {
    Image image = image_of(3, 3, 4), expected = image;
    color_jitter(image, {.brightness = 0.5}, philox, i);
    adjust_brightness(expected, draw_color_jitter({.brightness = 0.5}, philox, i).values[0]);
    EXPECT_EQ(image.pixels, expected.pixels);
  }
}

// ---- in the loader ----

InMemoryDataset noise_images(int64_t n, int64_t side) {
  Tensor images = empty({n, side, side, 3}, {.dtype = DType::kU8, .device = {}});
  for (int64_t i = 0; i < n; i++)
    std::ranges::copy(image_of(side, side, 100 + static_cast<uint64_t>(i)).pixels,
                      images.data<uint8_t>() + i * side * side * 3);
  std::vector<int64_t> labels(static_cast<size_t>(n), 0);
  return {images, labels, {"all"}};
}

std::vector<std::vector<double>> epoch_of(const Dataset& data, LoaderOptions options, int workers, int64_t first = 0) {
  options.workers = workers;
  const Loader loader(data, std::move(options));
  std::vector<std::vector<double>> all;
  for (const Batch& batch : loader.epoch(2, first)) all.push_back(batch.images.to_vector());
  return all;
}

// Crop and flip move to the host then; they are those of the kernel, and the rotation follows.
TEST(ColourLoader, CropsFlipsAndRotatesAsWithoutColours) {
  const InMemoryDataset data = noise_images(12, 9);
  const LoaderOptions plain = {
      .batch_size = 5, .shuffle = true, .augment = {.pad = 2, .flip = true, .rotation = 30, .seed = 4}, .seed = 1};
  LoaderOptions with = plain;
  with.rand_augment = {.ops = 1, .magnitude = 0};  // an operation of no effect, or one that shows
  const auto a = epoch_of(data, plain, 0), b = epoch_of(data, with, 0);
  size_t same = 0, images = 0;
  for (size_t k = 0; k < a.size(); k++)
    for (size_t i = 0; i < a[k].size(); i += 9 * 9 * 3, images++)
      same += std::equal(a[k].begin() + static_cast<ptrdiff_t>(i), a[k].begin() + static_cast<ptrdiff_t>(i + 9 * 9 * 3),
                         b[k].begin() + static_cast<ptrdiff_t>(i));
  EXPECT_EQ(images, 12u);
  EXPECT_GE(same, 7u);  // of 14 operations, 12 leave these images as they are at magnitude 0
}

TEST(ColourLoader, DependsOnSeedEpochAndPositionAlone) {
  const InMemoryDataset data = noise_images(11, 8);
  const LoaderOptions o = {.batch_size = 4,
                           .shuffle = true,
                           .augment = {.pad = 1, .flip = true, .seed = 4},
                           .color_jitter = {.brightness = 0.4, .contrast = 0.4, .saturation = 0.4, .hue = 0.1},
                           .rand_augment = {.ops = 2},
                           .seed = 1};
  const auto whole = epoch_of(data, o, 0);
  EXPECT_EQ(epoch_of(data, o, 3), whole);
  EXPECT_EQ(epoch_of(data, o, 2, 1), std::vector(whole.begin() + 1, whole.end()));
  LoaderOptions other = o;
  other.augment.seed = 5;
  EXPECT_NE(epoch_of(data, other, 0), whole);
}

TEST(ColourLoader, RandomCropsAreUniformPartsOfTheResizedImage) {
  const InMemoryDataset data = noise_images(1, 6);
  LoaderOptions o = {.batch_size = 1, .random_crop_size = 8};
  const Image resized = resize_shorter(image_of(6, 6, 100), 8);
  std::map<std::pair<int, int>, int> places;
  for (uint64_t seed = 0; seed < 300; seed++) {
    o.augment.seed = seed;
    const auto got = epoch_of(data, o, 0)[0];
    for (int y = 0; y <= 2; y++)
      for (int x = 0; x <= 2; x++) {
        const Image part = crop(resized, {y, x, 6, 6});
        bool equal = true;
        for (size_t i = 0; i < got.size(); i++) equal = equal && std::abs(got[i] * 255 - part.pixels[i]) < 0.01;
        if (equal) places[{y, x}]++;
      }
  }
  EXPECT_EQ(places.size(), 9u);
  int sum = 0;
  for (const auto& [place, n] : places) {
    sum += n;
    EXPECT_NEAR(n, 300 / 9, 20);
  }
  EXPECT_EQ(sum, 300);
  o.random_crop_size = 5;
  expect_error([&] { Loader(data, o); }, {"[loader] expected a random_crop_size of at least the images' 6x6, got 5"});
}

}  // namespace
}  // namespace fulcrum
