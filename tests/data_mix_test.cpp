// Mixup and CutMix: what is drawn, what the kernel makes of it, and what the loader hands out.
#include <cmath>

#include <fulcrum/core/kernels.h>
#include <fulcrum/core/mix_rules.h>
#include <fulcrum/data/loader.h>
#include <fulcrum/data/mix.h>

#include "data_testing.h"
#include "testing.h"

namespace fulcrum {
namespace {

constexpr ImageSize kSize = {12, 20};

TEST(Mix, SharesAreBetaNumbers) {
  const Philox philox(7, streams::kMix);
  for (const double alpha : {0.2, 0.4, 1.0, 2.5}) {
    constexpr int kDraws = 4000;
    double mean = 0, square = 0, low = 0;
    for (uint64_t i = 0; i < kDraws; i++) {
      const double share = draw_mix({.mixup_alpha = alpha}, kSize, philox, i).label_share;
      EXPECT_TRUE(share >= 0 && share <= 1);
      mean += share / kDraws;
      square += share * share / kDraws;
      low += share < 0.5 ? 1.0 / kDraws : 0;
    }
    const double variance = 1 / (4 * (2 * alpha + 1));
    EXPECT_NEAR(mean, 0.5, 4 * std::sqrt(variance / kDraws)) << alpha;
    EXPECT_NEAR(square - mean * mean, variance, 0.06 * variance) << alpha;
    EXPECT_NEAR(low, 0.5, 0.04) << alpha;
  }
  // Beta(1, 1) is uniform; so small an alpha that a gamma number would be 0 has both ends.
  int below = 0, ends[2] = {0, 0};
  for (uint64_t i = 0; i < 4000; i++) {
    below += draw_mix({.mixup_alpha = 1}, kSize, philox, i).label_share < 0.1;
    const double extreme = draw_mix({.mixup_alpha = 1e-3}, kSize, philox, i).label_share;
    if (extreme < 1e-6) ends[0]++;
    if (extreme > 1 - 1e-6) ends[1]++;
  }
  EXPECT_NEAR(below, 400, 80);
  EXPECT_NEAR(ends[0], 2000, 200);
  EXPECT_NEAR(ends[1], 2000, 200);
}

// torchvision's CutMix.make_params.
TEST(Mix, BoxesAreCutOffAtTheBordersAndCountedAsTheyAre) {
  const Philox philox(8, streams::kMix);
  double share = 0;
  int cut_off = 0;
  for (uint64_t i = 0; i < 2000; i++) {
    const MixDraw draw = draw_mix({.cutmix_alpha = 1}, kSize, philox, i);
    const CropBox& b = draw.box;
    EXPECT_TRUE(b.top >= 0 && b.left >= 0 && b.height >= 0 && b.width >= 0 && b.top + b.height <= 12 &&
                b.left + b.width <= 20);
    EXPECT_EQ(draw.pixel_share, 1);
    EXPECT_DOUBLE_EQ(draw.label_share, 1 - static_cast<double>(b.height * b.width) / 240);
    share += draw.label_share / 2000;
    cut_off += b.height % 2 == 1 || b.width % 2 == 1;
  }
  EXPECT_GT(cut_off, 500);
  EXPECT_GT(share, 0.6);  // of 0.5 without borders
  EXPECT_LT(share, 0.75);
}

TEST(Mix, ProbabilitiesChooseBatchesAndTheKind) {
  const Philox philox(9, streams::kMix);
  int plain = 0, cut = 0, mixed = 0;
  for (uint64_t i = 0; i < 4000; i++) {
    const MixDraw draw = draw_mix({0.8, 1, 0.6, 0.25}, kSize, philox, i);
    if (draw.pixel_share < 1) mixed++;
    else if (draw.label_share < 1) cut++;
    else plain++;
  }
  EXPECT_NEAR(plain, 1600, 150);  // and a few empty boxes
  EXPECT_NEAR(mixed, 1800, 150);
  EXPECT_NEAR(cut, 600, 100);
  EXPECT_EQ(draw_mix({}, kSize, philox, 0).label_share, 1);
}

// ---- the kernel ----

TEST(Mix, KernelMixesWithTheSampleBefore) {
  constexpr int64_t kB = 3, kH = 4, kW = 5, kC = 2;
  std::vector<double> values;
  for (int64_t i = 0; i < kB * kH * kW * kC; i++) values.push_back(std::sin(static_cast<double>(i)));
  const Tensor x = from_vector({kB, kH, kW, kC}, values);
  Tensor plan = empty({kMixRows, kB}, {DType::kI64, {}});
  // Mixed by a quarter and three quarters; cut; left alone.
  const int64_t rows[kMixRows][kB] = {{kMixUnit / 4, kMixUnit, kMixUnit},
                                      {kMixUnit / 4, kMixUnit / 2, kMixUnit},
                                      {0, 1, 0},
                                      {0, 2, 0},
                                      {0, 3, 0},
                                      {0, 5, 0}};
  std::copy_n(&rows[0][0], kMixRows * kB, plan.data<int64_t>());
  for (const DType dtype : {DType::kF32, DType::kBf16}) {
    Tensor y = empty(x.shape(), {dtype, {}}), share = empty({kB}, {DType::kF32, {}});
    Cpu::mix(y, share, x, plan);
    EXPECT_EQ(share.to_vector(), (std::vector<double>{0.25, 0.5, 1}));
    const auto got = y.to_vector();
    const auto at = [&](int64_t b, int64_t i, int64_t j, int64_t c) {
      return static_cast<size_t>(((b * kH + i) * kW + j) * kC + c);
    };
    for (int64_t i = 0; i < kH; i++)
      for (int64_t j = 0; j < kW; j++)
        for (int64_t c = 0; c < kC; c++) {
          const double tolerance = dtype == DType::kF32 ? 1e-6 : 4e-3;
          EXPECT_NEAR(got[at(0, i, j, c)], 0.25 * values[at(0, i, j, c)] + 0.75 * values[at(2, i, j, c)], tolerance);
          const bool in_box = i >= 1 && i < 3 && j >= 2;
          EXPECT_NEAR(got[at(1, i, j, c)], values[at(in_box ? 0 : 1, i, j, c)], tolerance);
          EXPECT_NEAR(got[at(2, i, j, c)], values[at(2, i, j, c)], tolerance);
        }
  }
}

// ---- the loader ----

LoaderOptions mixing(int workers) {
  return {.batch_size = 4,
          .shuffle = true,
          .augment = {.flip = true, .seed = 5},
          .mix = {.mixup_alpha = 0.5, .cutmix_alpha = 1},
          .seed = 3,
          .workers = workers};
}

TEST(MixLoader, HandsOutImagesLabelsAndShares) {
  const InMemoryDataset data = small_dataset(10);
  LoaderOptions plain = mixing(0);
  plain.mix = {};
  const Loader mixed_loader(data, mixing(0)), plain_loader(data, plain);
  auto mixed = mixed_loader.epoch(1), own = plain_loader.epoch(1);
  auto a = mixed.begin(), b = own.begin();
  for (; a != mixed.end(); ++a, ++b) {
    EXPECT_FALSE(b->share);
    EXPECT_FALSE(b->other_labels);
    ASSERT_EQ(a->share.shape(), Shape({a->size}));
    const auto labels = a->labels.to_vector(), other = a->other_labels.to_vector(), share = a->share.to_vector();
    EXPECT_EQ(labels, b->labels.to_vector());
    for (size_t i = 0; i < labels.size(); i++) EXPECT_EQ(other[i], labels[(i + labels.size() - 1) % labels.size()]);
    const auto x = a->images.to_vector(), y = b->images.to_vector();
    const size_t values = x.size() / labels.size();
    for (size_t i = 0; i < labels.size(); i++) {
      // Of a batch with a share, each pixel is mixed by it, or is the one image's or the other's.
      double own_pixels = 0;
      for (size_t k = 0; k < values; k++) {
        const double mine = y[i * values + k], before = y[(i + labels.size() - 1) % labels.size() * values + k];
        const double got = x[i * values + k];
        const bool blended = std::abs(got - (share[i] * mine + (1 - share[i]) * before)) < 1e-5;
        EXPECT_TRUE(blended || got == mine || got == before);
        own_pixels += got == mine ? 1.0 / static_cast<double>(values) : 0;
      }
      EXPECT_LE(own_pixels, share[i] + 0.35);  // equal pixels by chance
    }
  }
}

TEST(MixLoader, DependsOnSeedEpochAndPositionAlone) {
  const InMemoryDataset data = small_dataset(11);
  const auto epoch = [&](int workers, int64_t first) {
    const Loader loader(data, mixing(workers));
    std::vector<std::vector<double>> all;
    for (const Batch& batch : loader.epoch(4, first)) {
      all.push_back(batch.images.to_vector());
      all.push_back(batch.share.to_vector());
    }
    return all;
  };
  const auto whole = epoch(0, 0);
  EXPECT_EQ(epoch(2, 0), whole);
  EXPECT_EQ(epoch(1, 2), std::vector(whole.begin() + 4, whole.end()));
}

TEST(MixLoader, RefusesOptionsThatMeanNothing) {
  const InMemoryDataset data = small_dataset(4);
  for (const MixOptions mix : {MixOptions{-1, 0}, MixOptions{0, -1}, MixOptions{1, 0, 1.5}, MixOptions{1, 1, 1, -0.1}})
    expect_error([&] { Loader(data, {.mix = mix}); }, {"[loader] expected a mix with alphas of at least 0"});
}

}  // namespace
}  // namespace fulcrum
