// The augmentation kernel against its definition, pixel by pixel.
#include <fulcrum/core/kernels.h>
#include <fulcrum/core/random.h>

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

  /// The image shifted by (dy, dx) with zeros around, then flipped where the draw says so.
  double expected(const AugmentOptions& o, int64_t b, int64_t y, int64_t x, int64_t c) const {
    const Words4 draw =
        Philox(o.seed, streams::kAugment).block(static_cast<uint64_t>(counters.data<int64_t>()[b]));
    const auto shifts = static_cast<uint32_t>(2 * o.pad + 1);
    const int64_t row = y + static_cast<int64_t>(Philox::scale(draw.w[0], shifts)) - o.pad;
    const bool flip = o.flip && (draw.w[2] & 1u);
    const int64_t column = (flip ? kWidth - 1 - x : x) +
                           static_cast<int64_t>(Philox::scale(draw.w[1], shifts)) - o.pad;
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

}  // namespace
}  // namespace fulcrum::testing
