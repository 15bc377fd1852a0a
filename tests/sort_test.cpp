// Sorting beside std::stable_sort.
#include <cmath>
#include <numeric>

#include <fulcrum/core/ops.h>

#include "oracles.h"

namespace fulcrum::testing {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// Places of a row's elements in order, NaN behind all numbers, or before them where the order descends.
std::vector<double> places(const std::vector<double>& row, bool descending) {
  std::vector<double> at(row.size());
  std::iota(at.begin(), at.end(), 0);
  std::stable_sort(at.begin(), at.end(), [&](double i, double j) {
    const double a = row[static_cast<size_t>(i)], b = row[static_cast<size_t>(j)];
    if (std::isnan(a) || std::isnan(b)) return std::isnan(descending ? a : b) && !std::isnan(descending ? b : a);
    return descending ? a > b : a < b;
  });
  return at;
}

bool same_number(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

class Sort : public ::testing::TestWithParam<DType> {
 protected:
  // Few different numbers, so that many are equal; floats with NaN among them.
  Tensor row(int64_t n) const {
    std::vector<double> x(static_cast<size_t>(n));
    for (size_t i = 0; i < x.size(); i++) x[i] = static_cast<double>(i * i * 7 % 101);
    if (is_floating(GetParam()))
      for (size_t i = 3; i < x.size(); i += 17) x[i] = kNan;
    return from_vector({n}, x, {GetParam(), {}});
  }
};

TEST_P(Sort, IsThatOfTheStandardLibrary) {
  for (const int64_t n : {1, 2, 31, 1000})
    for (const bool descending : {false, true}) {
      const Tensor x = row(n);
      const auto expected = places(x.to_vector(), descending);
      const auto [values, indices] = sort(x, -1, descending);
      EXPECT_EQ(indices.to_vector(), expected);
      EXPECT_EQ(indices.dtype(), DType::kI64);
      const auto row = x.to_vector(), sorted = values.to_vector();
      for (size_t i = 0; i < row.size(); i++)
        EXPECT_TRUE(same_number(sorted[i], row[static_cast<size_t>(expected[i])])) << i;
      for (const int64_t k : {int64_t{1}, (n + 1) / 2, n}) {
        const auto first = topk(x, k, 0, descending);
        EXPECT_EQ(first.indices.to_vector(), std::vector<double>(expected.begin(), expected.begin() + k)) << k;
      }
    }
}

INSTANTIATE_TEST_SUITE_P(DTypes, Sort,
                         ::testing::Values(DType::kF32, DType::kBf16, DType::kF64, DType::kU8, DType::kI32,
                                           DType::kI64),
                         [](const auto& info) { return name_of(info.param); });

TEST(SortAlong, EveryDimensionAndByTwoThreads) {
  const Tensor x = random_tensor({40, 31, 37}, 1);
  for (int d = 0; d < 3; d++) {
    const View values(sort(x, d).values), at(argsort(x, d - 3)), from(x);
    for (int64_t i = 0; i < 40; i++)
      for (int64_t j = 0; j < 31; j++)
        for (int64_t k = 0; k < 37; k++) {
          const auto place = static_cast<int64_t>(at(i, j, k));
          EXPECT_EQ(values(i, j, k), d == 0 ? from(place, j, k) : d == 1 ? from(i, place, k) : from(i, j, place));
          const int64_t along = d == 0 ? i : d == 1 ? j : k;
          if (along > 0) {
            EXPECT_LE(values(i - (d == 0), j - (d == 1), k - (d == 2)), values(i, j, k));
          }
        }
  }
}

TEST(SortAlong, LargeIntegersKeepTheirOrder) {
  const int64_t large = (int64_t{1} << 53) + 1;
  const Tensor x = from_vector({3}, std::vector<int64_t>{large, large - 1, large + 1});
  EXPECT_EQ(argsort(x).to_vector(), (std::vector<double>{1, 0, 2}));
}

TEST(SortErrors, NameWhatWasExpected) {
  EXPECT_ERROR(topk(zeros({2, 5}), 6), "[topk] expected k in [1, 5], got 6");
  EXPECT_ERROR(topk(zeros({2, 5}), 0, 0), "[topk] expected k in [1, 2], got 0");
  EXPECT_ERROR(sort(zeros({2, 5}), 2), "dimension");
  EXPECT_ERROR(sort(zeros({})), "dimension");
}

}  // namespace
}  // namespace fulcrum::testing
