// Sorting by the CUDA back-end: rows within a tile, of several tiles, and of an odd number of runs.
#include "device_testing.h"

namespace fulcrum::testing {
namespace {

class CudaSort : public ::testing::TestWithParam<DType> {};

TEST_P(CudaSort, RowsOfOneTileAndOfSeveral) {
  FULCRUM_NEEDS_CUDA();
  struct Rows {
    int64_t rows, n, kept;
  };
  for (const auto& [rows, n, kept] :
       {Rows{3, 1, 1}, {2, 33, 33}, {2, 1024, 7}, {3, 1025, 1025}, {2, 3000, 100}, {1, 5000, 5000}}) {
    std::vector<double> numbers(static_cast<size_t>(rows * n));
    for (size_t i = 0; i < numbers.size(); i++) numbers[i] = static_cast<double>(i * i % 1013 % 200);
    if (is_floating(GetParam()))
      for (size_t i = 5; i < numbers.size(); i += 97) numbers[i] = std::numeric_limits<double>::quiet_NaN();
    const Tensor x = from_vector({rows, n}, numbers, {GetParam(), {}});
    for (const bool descending : {false, true}) {
      SCOPED_TRACE(concat_text(rows, " x ", n, ", ", kept, " kept", descending ? ", descending" : ""));
      expect_same_on_both({}, [&, rows = rows, kept = kept]<class K>(Device device) {
        Tensor y = full({rows, kept}, -1, {DType::kI64, device});
        K::argsort(y, x.to(device), descending);
        return Tensors{y};
      });
    }
  }
}

TEST(CudaSortRows, MoreThanBlocks) {
  FULCRUM_NEEDS_CUDA();
  const Tensor x = random_tensor({2100, 5}, 1, -1, 1, DType::kF32);
  expect_same_on_both({}, [&]<class K>(Device device) {
    Tensor y = empty(x.shape(), {DType::kI64, device});
    K::argsort(y, x.to(device), false);
    return Tensors{y};
  });
}

INSTANTIATE_TEST_SUITE_P(DTypes, CudaSort,
                         ::testing::Values(DType::kF32, DType::kBf16, DType::kF64, DType::kU8, DType::kI64),
                         [](const auto& info) { return name_of(info.param); });

}  // namespace
}  // namespace fulcrum::testing
