// Element-wise kernels of the CUDA back-end. The operations that they make up are in ops_test.cpp.
#include <fulcrum/core/functors.h>
#include <fulcrum/core/ops.h>

#include "device_testing.h"

namespace fulcrum::testing {
namespace {

class CudaElementwise : public ::testing::TestWithParam<DType> {};

// Sizes around the width of a vector load, of a block, and beyond the largest grid.
const Shape kShapes[] = {{}, {1}, {3}, {7, 5}, {257}, {4, 64}, {1031, 509}};

TEST_P(CudaElementwise, UnaryAndGradient) {
  FULCRUM_NEEDS_CUDA();
  for (const Shape& shape : kShapes) {
    const Tensor x = random_tensor(shape, 1, -2, 2, GetParam());
    const Tensor dy = random_tensor(shape, 2, -1, 1, GetParam());
    expect_same_on_both({1e-5}, [&]<class K>(Device device) {
      Tensor y = empty(shape, {GetParam(), device}), dx = empty_like(y);
      K::template unary<Tanh>(y, x.to(device));
      K::template unary_gradient<Tanh>(dx, dy.to(device), x.to(device));
      return Tensors{y, dx};
    });
  }
}

TEST_P(CudaElementwise, SlicesThatStandOnNoVectorBoundary) {
  FULCRUM_NEEDS_CUDA();
  const Tensor x = random_tensor({9, 3}, 1, -2, 2, GetParam());
  expect_same_on_both({1e-5}, [&]<class K>(Device device) {
    const Tensor part = x.to(device).slice(1, 8);
    Tensor y = zeros({9, 3}, {GetParam(), device}), into = y.slice(2, 9);
    K::template unary<Square>(into, part);
    K::add_into(into, part);
    return Tensors{y};
  });
}

TEST_P(CudaElementwise, CastsAndFills) {
  FULCRUM_NEEDS_CUDA();
  const Tensor x = random_tensor({37, 11}, 1, -100, 100, GetParam());
  for (DType to : {DType::kF32, DType::kBf16, DType::kF64, DType::kI32, DType::kI64})
    expect_same_on_both({}, [&]<class K>(Device device) {
      Tensor y = empty(x.shape(), {to, device}), constant = empty_like(y);
      K::cast(y, x.to(device));
      K::fill(constant, 3.25);
      return Tensors{y, constant};
    });
}

// With inner sizes of one and more, and with the same place several times.
TEST_P(CudaElementwise, PicksAndPutsByIndex) {
  FULCRUM_NEEDS_CUDA();
  for (const IndexLoop& loop :
       {IndexLoop{1, 9, 40, 7, true}, IndexLoop{3, 9, 300, 1, true}, IndexLoop{3, 9, 5, 33, false}}) {
    const Shape wide{loop.outer, loop.size, loop.inner}, picked{loop.outer, loop.count, loop.inner};
    const Tensor x = random_tensor(wide, 1, -1, 1, GetParam()), dy = random_tensor(picked, 2, -1, 1, GetParam());
    std::vector<int64_t> at(static_cast<size_t>(loop.slices ? loop.count : picked.numel()));
    for (size_t i = 0; i < at.size(); i++) at[i] = static_cast<int64_t>(i * i % 9);
    expect_same_on_both({}, [&]<class K>(Device device) {
      const Tensor index = from_vector({std::ssize(at)}, at, device);
      Tensor y = empty(picked, {GetParam(), device}), put = zeros(wide, options_of(y)), sums = zeros_like(put);
      K::gather(y, x.to(device), index, loop);
      K::scatter(put, dy.to(device), index, loop);
      K::scatter_add(sums, dy.to(device), index, loop);
      return Tensors{y, put, sums};
    });
  }
}

TEST_P(CudaElementwise, AnIndexOutOfRangeReadsAndWritesNothing) {
  FULCRUM_NEEDS_CUDA();
  const Device gpu("cuda");
  const Tensor index = from_vector({3}, std::vector<int64_t>{-1, 1, 4}, gpu);
  const Tensor y = index_select(ones({4, 2}, {GetParam(), gpu}), 0, index);
  for (int i = 0; i < 6; i++) EXPECT_EQ(std::isnan(y.to_vector()[static_cast<size_t>(i)]), i / 2 != 1) << i;
  EXPECT_EQ(index_select(index, 0, index).to_vector(), (std::vector<double>{-1, 1, -1}));
  Tensor table = zeros({4, 1}, {GetParam(), gpu});
  index_copy_(table, 0, index, ones({3, 1}, options_of(table)));
  EXPECT_EQ(table.to_vector(), (std::vector<double>{0, 1, 0, 0}));
}

// More pairs than one launch takes, of sizes around a block's piece, each from its own offset.
TEST_P(CudaElementwise, SumsOfManyPairs) {
  FULCRUM_NEEDS_CUDA();
  for (const DType of_term : {GetParam(), DType::kBf16, DType::kF32})
    expect_same_on_both({}, [&]<class K>(Device device) {
      Tensors all;
      std::vector<TensorPair> pairs;
      const int64_t sizes[] = {1, 3, 16, 257, 4095, 4096, 4097, 9000};
      for (int64_t i = 0; i < 103; i++) {
        const int64_t n = sizes[i % 8], offset = i % 5 == 0 ? i % 3 : 0;
        const auto seed = static_cast<uint64_t>(i);
        all.push_back(random_tensor({offset + n}, 2 * seed, -1, 1, GetParam()).to(device));
        const Tensor term = random_tensor({offset + n}, 2 * seed + 1, -1, 1, of_term).to(device);
        pairs.push_back({all.back().slice(offset, offset + n), term.slice(offset, offset + n)});
      }
      K::add_all(pairs);
      return all;
    });
}

INSTANTIATE_TEST_SUITE_P(Dtypes, CudaElementwise, ::testing::Values(DType::kF32, DType::kBf16, DType::kF64),
                         [](const auto& dtype) { return name_of(dtype.param); });

TEST(CudaDropout, DrawsTheBitsOfTheCpuAndAdvances) {
  FULCRUM_NEEDS_CUDA();
  const Tensor x = random_tensor({5, 203}, 1, 1, 2, DType::kF32);
  expect_same_on_both({}, [&]<class K>(Device device) {
    Generator generator(kSeed, streams::kDropout, device);
    Tensor y = empty(x.shape(), {DType::kF32, device}), mask = empty(x.shape(), {DType::kU8, device});
    Tensor y2 = empty_like(y), mask2 = empty_like(mask);
    K::dropout(y, mask, x.to(device), 0.3, generator);
    K::dropout(y2, mask2, x.to(device), 0.3, generator);
    return Tensors{y, mask, y2, mask2, generator.position};
  });
}

}  // namespace
}  // namespace fulcrum::testing
