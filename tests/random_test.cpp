// Philox against the published vectors of Random123, and what is drawn from it.
#include <set>

#include <fulcrum/layers/layers.h>

#include "testing.h"

namespace fulcrum::testing {
namespace {

std::vector<uint32_t> block(uint64_t seed, uint64_t stream, uint64_t index) {
  const Words4 words = Philox(seed, stream).block(index);
  return {words.w, words.w + 4};
}

TEST(Philox, KnownAnswers) {
  const uint64_t ones = ~uint64_t{0};
  using Words = std::vector<uint32_t>;
  EXPECT_EQ(block(0, 0, 0), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(block(ones, ones, ones), (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  // Digits of π: every word of counter and key is different, so none can be exchanged.
  EXPECT_EQ(block(0x299f31d0a4093822, 0x0370734413198a2e, 0x85a308d3243f6a88),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, WordsAreThoseOfTheBlocks) {
  const Philox philox(7, 9);
  for (uint64_t i = 0; i < 12; i++) EXPECT_EQ(philox.word(i), block(7, 9, i / 4)[i % 4]);
}

TEST(Philox, StreamsAndSeedsDiffer) {
  std::set<uint32_t> seen;
  for (uint64_t seed : {0, 1, 2})
    for (uint64_t stream : {streams::kShuffle, streams::kAugment, streams::kDropout, streams::kSubset, streams::kNoise,
                            streams::kSplit, streams::kInit, streams::kInit + 1})
      for (uint64_t i = 0; i < 100; i++) seen.insert(Philox(seed, stream).word(i));
  EXPECT_EQ(seen.size(), 2400u);
}

TEST(Philox, UniformsFillTheUnitInterval) {
  EXPECT_EQ(Philox::to_uniform(0), 0.0f);
  EXPECT_EQ(Philox::to_uniform(0xffffffffu), 1.0f - 0x1p-24f);
  const Philox philox(kSeed, 1);
  const uint64_t n = 100000;
  double sum = 0, squares = 0;
  for (uint64_t i = 0; i < n; i++) {
    const double u = philox.uniform(i);
    ASSERT_GE(u, 0);
    ASSERT_LT(u, 1);
    sum += u;
    squares += u * u;
  }
  EXPECT_NEAR(sum / n, 0.5, 0.004);
  EXPECT_NEAR(squares / n, 1.0 / 3, 0.004);
}

TEST(Philox, NormalsHaveTheMomentsAndAreUncorrelatedInPairs) {
  const Philox philox(kSeed, 2);
  const uint64_t n = 100000;
  double sum = 0, squares = 0, fourths = 0, pairs = 0;
  for (uint64_t i = 0; i < n; i++) {
    const double z = philox.normal(i);
    ASSERT_TRUE(std::isfinite(z));
    sum += z;
    squares += z * z;
    fourths += z * z * z * z;
    if (i % 2) pairs += z * philox.normal(i - 1);
  }
  EXPECT_NEAR(sum / n, 0, 0.015);
  EXPECT_NEAR(squares / n, 1, 0.02);
  EXPECT_NEAR(fourths / n, 3, 0.2);
  EXPECT_NEAR(pairs / (n / 2), 0, 0.02);
}

TEST(Philox, IntegersBelowABoundAreEvenlySpread) {
  const Philox philox(kSeed, 3);
  std::vector<int> counts(10);
  for (uint64_t i = 0; i < 100000; i++) counts.at(philox.below(i, 10))++;
  for (int c : counts) EXPECT_NEAR(c, 10000, 500);
  EXPECT_EQ(Philox::scale(0xffffffffu, 10), 9u);
  EXPECT_EQ(Philox::scale(0, 10), 0u);
}

// Fills compute in runs, with a logarithm, sine and cosine of their own.
TEST(Fills, OfManyElementsAreTheStreamsElements) {
  const Philox philox(7, 9);
  Tensor t = empty({100003});
  fill_normal(t, 0, 1, 7, 9);
  Tensor u = empty({1, 129});
  fill_uniform(u, 0, 1, 7, 9);
  for (uint64_t i = 0; i < 100003; i++) ASSERT_FLOAT_EQ(t.data<float>()[i], philox.normal(i)) << i;
  for (uint64_t i = 0; i < 129; i++) ASSERT_FLOAT_EQ(u.data<float>()[i], philox.uniform(i)) << i;
}

TEST(Fills, UniformNumbersStayBelowTheUpperBound) {
  for (const auto& [low, high] : {std::pair{0.0, 1.0}, {1.0, 2.0}, {-1.0, 0.0}, {-2.0, -1.0}, {1000.0, 1001.0}})
    for (DType dtype : {DType::kF32, DType::kF64, DType::kBf16}) {
      Tensor t = empty({100000}, {dtype, {}});
      fill_uniform(t, low, high, 1, 1);
      const auto values = t.to_vector();
      EXPECT_LT(*std::ranges::max_element(values), high) << dtype << low;
      EXPECT_GE(*std::ranges::min_element(values), low) << dtype << low;
    }
  Tensor same = empty({100});
  fill_uniform(same, 3, 3, 1, 1);
  EXPECT_TRUE(same_bits(same, full({100}, 3)));
}

TEST(Fills, AreSeenByTheTwin) {
  Linear layer({.in = 3, .out = 2});
  layer.to(Device(), DType::kBf16);
  fill_normal(layer.weight, 0, 1, 1, 1);
  EXPECT_TRUE(same_bits(layer.weight.as(DType::kBf16), layer.weight.detach().to(DType::kBf16)));
}

TEST(Fills, AreTheStreamsElementsInEveryDtype) {
  const Philox philox(5, 6);
  for (DType dtype : {DType::kF32, DType::kF64, DType::kBf16}) {
    Tensor t = empty({3, 7}, {dtype, {}});
    fill_uniform(t, -2, 2, 5, 6);
    Tensor z = empty({3, 7}, {dtype, {}});
    fill_normal(z, 1, 0.5, 5, 6);
    for (uint64_t i = 0; i < 21; i++) {
      const double u = -2 + 4 * static_cast<double>(philox.uniform(i)),
                   v = 1 + 0.5 * static_cast<double>(philox.normal(i));
      const double tolerance = dtype == DType::kBf16 ? 2e-2 : 1e-6;
      EXPECT_NEAR(t.to_vector()[i], u, tolerance);
      EXPECT_NEAR(z.to_vector()[i], v, tolerance);
    }
  }
}

}  // namespace
}  // namespace fulcrum::testing
