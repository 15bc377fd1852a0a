// Operations at infinite numbers, of bf16 with numbers that it would round, and over dimensions named twice.
#include <cmath>

#include <fulcrum/core/ops.h>

#include "testing.h"

namespace fulcrum::testing {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

TEST(OpEdges, LogsumexpOfAnInfiniteNumberGivesTheOthersNothing) {
  Tensor x = from_vector({2, 3}, std::vector<double>{kInfinity, 100, -kInfinity, 0, -kInfinity, 0}).set_requires_grad();
  const Tensor y = logsumexp(x, {1});
  EXPECT_EQ(y.to_vector()[0], kInfinity);
  EXPECT_NEAR(y.to_vector()[1], std::log(2), 1e-6);
  sum(y).backward();
  const auto dx = x.grad().to_vector();
  EXPECT_EQ(dx[1], 0);
  EXPECT_EQ(dx[2], 0);
  for (const size_t i : {3u, 5u}) EXPECT_NEAR(dx[i], 0.5, 1e-6);
  EXPECT_EQ(dx[4], 0);
}

TEST(OpEdges, FewRowsOfManyColumns) {
  const int64_t rows = 3, columns = 20011;
  const Tensor x = random_tensor({rows, columns}, 1, -1, 1, DType::kF32);
  const auto v = x.to_vector(), sums = sum(x, {0}).to_vector(), largest = amax(x, {0}).to_vector();
  for (size_t c = 0; c < static_cast<size_t>(columns); c++) {
    const double a = v[c], b = v[c + columns], d = v[c + 2 * columns];
    ASSERT_EQ(sums[c], static_cast<double>(static_cast<float>(a + b + d))) << c;
    ASSERT_EQ(largest[c], std::max({a, b, d})) << c;
  }
}

TEST(OpEdges, PowersInBf16AreRoundedOnce) {
  const TensorOptions options{DType::kBf16, {}};
  EXPECT_NEAR(pow(1.001, full({}, 100, options)).item(), std::pow(1.001, 100), 4e-3);
  Tensor x = full({}, 1.25, options).set_requires_grad();
  const double e = 258;  // a number of bf16, which 257 is not
  pow(x, full({}, e, options)).backward();
  EXPECT_NEAR(x.grad().item() / (e * std::pow(1.25, e - 1)), 1, 4e-3);
}

TEST(OpEdges, PowerOfZero) {
  Tensor x = zeros({3}).set_requires_grad();
  Tensor e = from_vector({3}, std::vector<double>{0, 1, 2}).set_requires_grad();
  const Tensor y = pow(x, e);
  EXPECT_EQ(y.to_vector(), (std::vector<double>{1, 0, 0}));
  sum(y).backward();
  EXPECT_EQ(x.grad().to_vector(), (std::vector<double>{0, 1, 0}));
  EXPECT_EQ(e.grad().to_vector(), (std::vector<double>{0, 0, 0}));
}

TEST(OpEdges, ADimensionIsReducedOnce) {
  EXPECT_ERROR(sum(zeros({2, 3}), {0, -2}), "[sum] expected each dimension once, got -2 twice");
  EXPECT_ERROR(amax(zeros({2, 3}), {1, 1}), "[amax] expected each dimension once, got 1 twice");
}

}  // namespace
}  // namespace fulcrum::testing
