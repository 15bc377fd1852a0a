// The augmentation kernel against its definition, pixel by pixel; rotations against torchvision's.
#include <fulcrum/core/augment_rules.h>
#include <fulcrum/core/kernels.h>
#include <fulcrum/core/serialize.h>

#include "testing.h"

namespace fulcrum::testing {
namespace {

constexpr int64_t kImages = 3, kBatch = 40, kHeight = 4, kWidth = 5;

struct Inputs {
  Tensor images, indices, counters, mean, stddev;

  explicit Inputs(int64_t channels) {
    images = empty({kImages, kHeight, kWidth, channels}, {DType::kU8, {}});
    const Philox philox(kSeed, 5);
    for (int64_t i = 0; i < images.numel(); i++)
      images.data<uint8_t>()[i] = static_cast<uint8_t>(philox.below(static_cast<uint64_t>(i), 256));
    std::vector<int64_t> rows, numbers;
    for (int64_t b = 0; b < kBatch; b++) {
      rows.push_back(b % kImages);
      numbers.push_back(1000 + b);
    }
    indices = labels_of(rows);
    counters = labels_of(numbers);
    mean = full({channels}, 0.25);
    stddev = full({channels}, 0.5);
    stddev.data<float>()[0] = 2;
  }

  Words4 words(const AugmentOptions& o, int64_t b) const {
    return Philox(o.seed, streams::kAugment).block(static_cast<uint64_t>(counters.data<int64_t>()[b]));
  }

  /// The image shifted by (dy, dx) with zeros around, then flipped where the draw says so.
  double expected(const AugmentOptions& o, int64_t b, int64_t y, int64_t x, int64_t c) const {
    const Words4 draw = words(o, b);
    const auto shifts = static_cast<uint32_t>(2 * o.pad + 1);
    const int64_t row = y + static_cast<int64_t>(Philox::scale(draw.w[0], shifts)) - o.pad;
    const bool flip = o.flip && (draw.w[2] & 1u);
    const int64_t column = (flip ? kWidth - 1 - x : x) + static_cast<int64_t>(Philox::scale(draw.w[1], shifts)) - o.pad;
    const bool inside = row >= 0 && row < kHeight && column >= 0 && column < kWidth;
    const int64_t channels = images.size(3), image = indices.data<int64_t>()[b];
    const int64_t at = ((image * kHeight + row) * kWidth + column) * channels + c;
    const int pixel = inside ? images.data<uint8_t>()[at] : 0;
    return (pixel / 255.0 - 0.25) / (c == 0 ? 2 : 0.5);
  }
};

TEST(Augment, IsTheCropOfThePaddedImageFlipped) {
  for (const int64_t channels : {1, 2, 3}) {
    const Inputs in(channels);
    // Up to crops that see nothing of the image.
    for (const AugmentOptions o : {AugmentOptions{},
                                   {.pad = 2},
                                   {.flip = true, .seed = 3},
                                   {.pad = 2, .flip = true, .seed = 4},
                                   {.pad = 9, .flip = true}}) {
      Tensor y = empty({kBatch, kHeight, kWidth, channels});
      Cpu::augment(y, in.images, in.indices, in.counters, in.mean, in.stddev, o);
      std::vector<double> expected;
      for (int64_t b = 0; b < kBatch; b++)
        for (int64_t i = 0; i < kHeight; i++)
          for (int64_t j = 0; j < kWidth; j++)
            for (int64_t c = 0; c < channels; c++) expected.push_back(in.expected(o, b, i, j, c));
      EXPECT_TRUE(all_close(y, from_vector(y.shape(), expected), {.absolute = 1e-6}))
          << channels << " channels, pad " << o.pad << ", flip " << o.flip;
    }
  }
}

// Zeros in the drawn rectangle, all else as without; some images lose nothing.
TEST(Augment, ErasesARectangleAfterNormalisation) {
  for (const int64_t channels : {1, 3})
    for (const double rotation : {0, 30}) {
      const Inputs in(channels);
      AugmentOptions o{.pad = 1, .flip = true, .rotation = rotation, .seed = 4};
      Tensor whole = empty({kBatch, kHeight, kWidth, channels}), y = empty(whole.shape());
      Cpu::augment(whole, in.images, in.indices, in.counters, in.mean, in.stddev, o);
      o.erase = {.probability = 0.5, .area_min = 0.1, .area_max = 0.6};
      Cpu::augment(y, in.images, in.indices, in.counters, in.mean, in.stddev, o);
      auto expected = whole.to_vector();
      int erased = 0;
      for (int64_t b = 0, at = 0; b < kBatch; b++) {
        const Erased gone(o, in.counters.data<int64_t>()[b], kHeight, kWidth);
        erased += gone.height > 0;
        for (int64_t i = 0; i < kHeight; i++)
          for (int64_t j = 0; j < kWidth; j++)
            for (int64_t c = 0; c < channels; c++, at++)
              if (gone.contains(i, j)) expected[static_cast<size_t>(at)] = 0;
      }
      EXPECT_TRUE(all_close(y, from_vector(y.shape(), expected), {}));
      EXPECT_GT(erased, kBatch / 4);
      EXPECT_LT(erased, kBatch * 3 / 4);
    }
}

// Shares, logarithms of ratios and places are uniform, as torchvision draws them.
TEST(Augment, ErasedRectanglesHaveTheirDistribution) {
  constexpr int64_t kDraws = 20000, kSide = 1000;
  const AugmentOptions o{
      .erase = {.probability = 0.3, .area_min = 0.1, .area_max = 0.3, .ratio_min = 0.5, .ratio_max = 2}, .seed = 9};
  double count = 0, area = 0, square = 0, ratio = 0, place = 0;
  for (int64_t b = 0; b < kDraws; b++) {
    const Erased gone(o, b, kSide, kSide);
    if (gone.height == 0) continue;
    ASSERT_TRUE(gone.top >= 0 && gone.left >= 0 && gone.top + gone.height <= kSide && gone.left + gone.width <= kSide);
    const double share = static_cast<double>(gone.height * gone.width) / (kSide * kSide);
    const double r = static_cast<double>(gone.height) / static_cast<double>(gone.width);
    ASSERT_TRUE(share > 0.0985 && share < 0.3015 && r > 0.49 && r < 2.04) << share << " " << r;
    count++, area += share, square += share * share, ratio += std::log(r);
    place += static_cast<double>(gone.top) / static_cast<double>(kSide - gone.height);
  }
  EXPECT_NEAR(count / kDraws, 0.3, 0.015);
  EXPECT_NEAR(area / count, 0.2, 0.004);
  EXPECT_NEAR(square / count - std::pow(area / count, 2), 0.04 / 12, 2e-4);  // of a uniform distribution
  EXPECT_NEAR(ratio / count, 0, 0.03);
  EXPECT_NEAR(place / count, 0.5, 0.02);
}

// A rectangle that never fits takes nothing.
TEST(Augment, ErasesNothingWhereNothingFits) {
  const AugmentOptions o{.erase = {.probability = 1, .area_min = 1, .area_max = 1, .ratio_min = 1, .ratio_max = 1}};
  EXPECT_EQ(Erased(o, 0, 8, 8).height, 0);
}

// The pixels of `image` u8 [H, W, C] seen through a rotation.
Tensor rotated(const Tensor& image, double degrees) {
  const int64_t h = image.size(0), w = image.size(1), c = image.size(2);
  AugmentDraw draw({}, {}, h, w);
  draw.rotates = true;
  draw.rotation = Rotation(degrees, h, w);
  Tensor y = zeros(image.shape(), {DType::kU8, {}});
  for (int64_t i = 0; i < h; i++)
    for (int64_t j = 0; j < w; j++) {
      int64_t row = i, column = j;
      if (!draw.to_source(row, column, h, w)) continue;
      for (int64_t k = 0; k < c; k++)
        y.data<uint8_t>()[(i * w + j) * c + k] = image.data<uint8_t>()[(row * w + column) * c + k];
    }
  return y;
}

TEST(Augment, RotatesAsTorchvision) {
  const TensorMap golden = load_tensors(FULCRUM_SOURCE_DIR "/tests/golden/images.safetensors").tensors;
  int seen = 0;
  for (const auto& [name, expected] : golden) {
    if (!name.starts_with("rotate.") || name.starts_with("rotate.input")) continue;
    const Tensor& image = golden.at("rotate.input." + name.substr(7, 1));
    EXPECT_TRUE(same_bits(rotated(image, std::stod(name.substr(9))), expected)) << name;
    seen++;
  }
  EXPECT_EQ(seen, 22);
}

// What the kernel makes of crop and flip, turned: the rotation comes last.
TEST(Augment, RotatesWhatIsCroppedAndFlipped) {
  const Inputs in(2);
  const AugmentOptions flat{.pad = 1, .flip = true, .seed = 6};
  AugmentOptions turning = flat;
  turning.rotation = 40;
  const Shape shape{kBatch, kHeight, kWidth, 2};
  Tensor before = empty(shape), after = empty(shape);
  Cpu::augment(before, in.images, in.indices, in.counters, in.mean, in.stddev, flat);
  Cpu::augment(after, in.images, in.indices, in.counters, in.mean, in.stddev, turning);
  int64_t outside = 0;
  double least = 90, most = -90;
  for (int64_t b = 0; b < kBatch; b++) {
    const double angle = AugmentDraw::angle(turning, in.words(turning, b));
    least = std::min(least, angle), most = std::max(most, angle);
    AugmentDraw draw({}, {}, kHeight, kWidth);
    draw.rotates = true;
    draw.rotation = Rotation(angle, kHeight, kWidth);
    for (int64_t i = 0; i < kHeight; i++)
      for (int64_t j = 0; j < kWidth; j++)
        for (int64_t c = 0; c < 2; c++) {
          int64_t y = i, x = j;
          const bool inside = draw.to_source(y, x, kHeight, kWidth);
          outside += !inside;
          const float zero = c == 0 ? -0.125f : -0.5f;
          const auto at = [&](const Tensor& t, int64_t row, int64_t column) {
            return t.data<float>()[((b * kHeight + row) * kWidth + column) * 2 + c];
          };
          EXPECT_EQ(at(after, i, j), inside ? at(before, y, x) : zero);
        }
  }
  EXPECT_GT(outside, 0);
  EXPECT_LT(least, -30);
  EXPECT_GT(most, 30);
  EXPECT_GE(least, -40);
  EXPECT_LT(most, 40);
}

}  // namespace
}  // namespace fulcrum::testing
