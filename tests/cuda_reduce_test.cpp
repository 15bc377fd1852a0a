// Reductions and softmax of the CUDA back-end. The operations that they make up are in ops_test.cpp.
#include <limits>

#include "device_testing.h"

namespace fulcrum::testing {
namespace {

class CudaReduce : public ::testing::TestWithParam<DType> {
 protected:
  // Sums differ in their order; a bf16 may round to the neighbour.
  Tolerance tolerance() const { return {GetParam() == DType::kF64 ? 1e-12 : GetParam() == DType::kF32 ? 1e-5 : 8e-3}; }
  Tensor random(const Shape& shape, uint64_t stream = 1) const {
    return random_tensor(shape, stream, -2, 3, GetParam());
  }
};

/// x and the result of its reduction.
struct Pair {
  Shape x, y;
};
// Every path: scalars, rows, planes and long lines by blocks (one and several for an output, one and
// several tiles, channels in packs and alone), the rest by threads and warps.
const Pair kPairs[] = {{{}, {}},
                       {{1, 1}, {1, 1}},
                       {{1031}, {1}},
                       {{3, 13007}, {1, 1}},
                       {{5, 7}, {1, 7}},
                       {{33, 1}, {1, 1}},
                       {{1403, 3}, {1, 3}},
                       {{2099, 16}, {1, 16}},
                       {{70, 200}, {1, 200}},
                       {{40, 77}, {1, 77}},
                       {{3, 49, 72}, {3, 1, 72}},
                       {{2, 1001, 5}, {2, 1, 5}},
                       {{5, 7}, {5, 1}},
                       {{9, 1500}, {9, 1}},
                       {{2, 9001}, {2, 1}},
                       {{7, 33}, {7, 33}},
                       {{4, 2, 3, 5}, {1, 2, 1, 5}},
                       {{2, 3, 4, 5}, {1, 3, 4, 1}},
                       {{3, 2, 3, 2, 5}, {3, 1, 3, 1, 5}}};

TEST_P(CudaReduce, SumsAndMaxima) {
  FULCRUM_NEEDS_CUDA();
  for (const Pair& shapes : kPairs) {
    SCOPED_TRACE(concat_text(shapes.x, " to ", shapes.y));
    const Tensor x = random(shapes.x);
    expect_same_on_both(tolerance(), [&]<class K>(Device device) {
      Tensor sum = empty(shapes.y, {GetParam(), device}), max = empty_like(sum);
      K::reduce_sum(sum, x.to(device));
      K::reduce_max(max, x.to(device));
      return Tensors{sum, max};
    });
  }
}

TEST_P(CudaReduce, SumsInAnotherDtype) {
  FULCRUM_NEEDS_CUDA();
  for (const Shape& shape : {Shape{2099, 16}, Shape{5, 7}}) {
    const Tensor x = random(shape);
    expect_same_on_both({1e-5}, [&]<class K>(Device device) {
      Tensor sum = empty({1, shape[1]}, {DType::kF32, device});
      K::reduce_sum(sum, x.to(device));
      return Tensors{sum};
    });
  }
}

TEST_P(CudaReduce, SlicesThatStandOnNoVectorBoundary) {
  FULCRUM_NEEDS_CUDA();
  const Tensor x = random({101 * 24 + 1});
  expect_same_on_both(tolerance(), [&]<class K>(Device device) {
    const Tensor part = x.to(device).slice(1, 101 * 24 + 1).reshape({101, 24});
    Tensor sum = empty({1, 24}, {GetParam(), device}), softmax = empty({101, 24}, {GetParam(), device});
    K::reduce_sum(sum, part);
    K::softmax(softmax, part, false);
    return Tensors{sum, softmax};
  });
}

TEST_P(CudaReduce, NansAreNotHidden) {
  FULCRUM_NEEDS_CUDA();
  for (int64_t where : {0, 1399}) {
    Tensor x = random({1400, 3});
    Tensor one = x.slice(where, where + 1);
    Cpu::fill(one, std::numeric_limits<double>::quiet_NaN());
    for (const Shape& to : {Shape{1, 3}, Shape{1400, 1}, Shape{1, 1}})
      expect_same_on_both(tolerance(), [&]<class K>(Device device) {
        Tensor max = empty(to, {GetParam(), device}), sum = empty_like(max);
        K::reduce_max(max, x.to(device));
        K::reduce_sum(sum, x.to(device));
        return Tensors{max, sum};
      });
  }
}

TEST_P(CudaReduce, ArgmaxTakesTheFirstOfEqualsAndOfNans) {
  FULCRUM_NEEDS_CUDA();
  for (int64_t columns : {1, 3, 32, 33, 1000}) {
    Tensor x = random({9, columns});
    std::vector<double> v = x.to_vector();
    for (double& e : v) e = std::round(e);  // many are equal
    const auto at = [&](int64_t r, int64_t c) -> double& { return v[static_cast<size_t>(r * columns + c)]; };
    at(1, 0) = at(2, columns - 1) = at(3, columns / 2) = at(5, 0) = at(5, columns - 1) =
        std::numeric_limits<double>::quiet_NaN();
    for (int64_t c = 0; c < columns; c++) at(4, c) = -std::numeric_limits<double>::infinity();
    x.copy_from(from_vector({9, columns}, v));
    expect_same_on_both({}, [&]<class K>(Device device) {
      Tensor y = empty({9}, {DType::kI64, device});
      K::argmax(y, x.to(device));
      return Tensors{y};
    });
  }
}

TEST_P(CudaReduce, SoftmaxAndGradient) {
  FULCRUM_NEEDS_CUDA();
  for (const Shape& shape :
       {Shape{3, 1}, Shape{1, 10}, Shape{129, 10}, Shape{2, 3, 33}, Shape{3, 1024}, Shape{3, 1025}, Shape{2, 2500}}) {
    const Tensor x = random_tensor(shape, 1, -30, 30, GetParam()), dy = random(shape, 2);
    Tensor s = empty_like(x);
    for (const bool log : {false, true}) {
      SCOPED_TRACE(concat_text(shape, log ? " log" : ""));
      Cpu::softmax(s, x, log);
      expect_same_on_both(tolerance(), [&]<class K>(Device device) {
        Tensor y = empty(shape, {GetParam(), device}), dx = empty_like(y);
        K::softmax(y, x.to(device), log);
        K::softmax_gradient(dx, dy.to(device), s.to(device), log);
        return Tensors{y, dx};
      });
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Dtypes, CudaReduce, ::testing::Values(DType::kF32, DType::kBf16, DType::kF64),
                         [](const auto& dtype) { return name_of(dtype.param); });

TEST(CudaReduction, ReplaysGiveTheBitsOfTheFirstTime) {
  FULCRUM_NEEDS_CUDA();
  const Device gpu("cuda");
  cuda::use_device(gpu.index);
  const Tensor x = random_tensor({3011, 24}, 1, -1, 1, DType::kF32).to(gpu);
  Tensor first = empty({1, 24}, options_of(x)), replayed = empty_like(first);
  Cuda::reduce_sum(first, x);
  cuda::Graph graph([&] { Cuda::reduce_sum(replayed, x); });
  for (int i = 0; i < 2; i++) {
    Cuda::fill(replayed, 0);
    graph.replay();
    EXPECT_TRUE(same_bits(replayed, first)) << i;
  }
}

}  // namespace
}  // namespace fulcrum::testing
