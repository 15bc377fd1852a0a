// Matrix products of the CUDA back-end against the CPU's.
#include <cmath>

#include <fulcrum/core/cuda_options.h>

#include "device_testing.h"

namespace fulcrum::testing {
namespace {

struct GemmCase {
  int64_t m, n, k;
};
const GemmCase kSizes[] = {{1, 1, 1},       {3, 5, 7},   {16, 16, 16}, {128, 10, 64},
                           {64, 1000, 512}, {1, 9, 300}, {129, 1, 65}};

struct GemmNumbers {
  const char* name;
  DType in, out;
  double tolerance;
};
const GemmNumbers kNumbers[] = {{"f32", DType::kF32, DType::kF32, 1e-5},
                                {"bf16", DType::kBf16, DType::kBf16, 1e-2},
                                {"bf16_to_f32", DType::kBf16, DType::kF32, 1e-5},
                                {"f64", DType::kF64, DType::kF64, 1e-12}};

class CudaGemm : public ::testing::TestWithParam<GemmNumbers> {
 protected:
  const GemmNumbers numbers = GetParam();

  Tensor matrix(int64_t rows, int64_t columns, bool transposed, uint64_t stream) const {
    const Shape shape = transposed ? Shape{columns, rows} : Shape{rows, columns};
    return random_tensor(shape, stream, -1, 1, numbers.in);
  }
};

TEST_P(CudaGemm, AllTranspositionsAndSizes) {
  FULCRUM_NEEDS_CUDA();
  for (const GemmCase& size : kSizes)
    for (bool ta : {false, true})
      for (bool tb : {false, true}) {
        SCOPED_TRACE(concat_text(size.m, "x", size.n, "x", size.k, ta ? " ta" : "", tb ? " tb" : ""));
        const Tensor a = matrix(size.m, size.k, ta, 1), b = matrix(size.k, size.n, tb, 2);
        expect_same_on_both({numbers.tolerance}, [&]<class K>(Device device) {
          Tensor c = empty({size.m, size.n}, {numbers.out, device});
          K::gemm(c, a.to(device), ta, b.to(device), tb, {}, false);
          return Tensors{c};
        });
      }
}

// As in linear(): the bias is f32 where the rest is bf16.
TEST_P(CudaGemm, Bias) {
  FULCRUM_NEEDS_CUDA();
  const DType bias_dtype = numbers.in == DType::kF64 ? DType::kF64 : DType::kF32;
  for (const GemmCase& size : kSizes) {
    SCOPED_TRACE(concat_text(size.m, "x", size.n, "x", size.k));
    const Tensor a = matrix(size.m, size.k, false, 1), b = matrix(size.k, size.n, true, 2);
    const Tensor bias = random_tensor({size.n}, 3, -1, 1, bias_dtype);
    expect_same_on_both({numbers.tolerance}, [&]<class K>(Device device) {
      Tensor c = empty({size.m, size.n}, {numbers.out, device});
      K::gemm(c, a.to(device), false, b.to(device), true, bias.to(device), false);
      return Tensors{c};
    });
  }
}

TEST_P(CudaGemm, ReluWithAndWithoutBias) {
  FULCRUM_NEEDS_CUDA();
  const DType bias_dtype = numbers.in == DType::kF64 ? DType::kF64 : DType::kF32;
  for (const GemmCase& size : kSizes)
    for (bool with_bias : {false, true}) {
      SCOPED_TRACE(concat_text(size.m, "x", size.n, "x", size.k, with_bias ? " bias" : ""));
      const Tensor a = matrix(size.m, size.k, false, 1), b = matrix(size.k, size.n, true, 2);
      const Tensor bias = random_tensor({size.n}, 3, -1, 1, bias_dtype);
      expect_same_on_both({numbers.tolerance}, [&]<class K>(Device device) {
        Tensor c = empty({size.m, size.n}, {numbers.out, device});
        K::gemm(c, a.to(device), false, b.to(device), true, with_bias ? bias.to(device) : Tensor(), true);
        return Tensors{c};
      });
    }
}

// max(x, 0) of a library may make a NaN zero, and then nothing would notice that the numbers are no longer finite.
TEST_P(CudaGemm, ReluKeepsANaN) {
  FULCRUM_NEEDS_CUDA();
  std::vector<double> values = matrix(16, 32, false, 1).to_vector();
  values[5 * 32 + 7] = std::nan("");
  const Tensor a = from_vector({16, 32}, values, {numbers.in, Device("cuda")});
  const Tensor b = matrix(32, 24, true, 2).to(a.device());
  Tensor c = empty({16, 24}, {numbers.out, a.device()});
  dispatch(a, [&]<class K>() { K::gemm(c, a, false, b, true, {}, true); });
  const std::vector<double> out = c.to_vector();
  for (size_t i = 0; i < out.size(); i++) EXPECT_EQ(std::isnan(out[i]), i / 24 == 5) << i;
}

TEST_P(CudaGemm, GradientsOfWeightAndBias) {
  FULCRUM_NEEDS_CUDA();
  for (const GemmCase& size : kSizes) {
    SCOPED_TRACE(concat_text(size.m, "x", size.n, "x", size.k));
    const Tensor dy = matrix(size.k, size.m, false, 1), x = matrix(size.k, size.n, false, 2);
    expect_same_on_both({numbers.tolerance}, [&]<class K>(Device device) {
      Tensor dw = empty({size.m, size.n}, {numbers.out, device}), dbias = empty({1, size.m}, {numbers.out, device});
      K::linear_weight_gradient(dw, dbias, dy.to(device), x.to(device));
      return Tensors{dw, dbias};
    });
  }
}

TEST_P(CudaGemm, SlicesThatStandOnNoBoundary) {
  FULCRUM_NEEDS_CUDA();
  const Tensor a = matrix(9, 5, false, 1), b = matrix(5, 3, false, 2);
  expect_same_on_both({numbers.tolerance}, [&]<class K>(Device device) {
    Tensor c = zeros({9, 3}, {numbers.out, device}), part = c.slice(1, 8);
    K::gemm(part, a.to(device).slice(2, 9), false, b.to(device), false, {}, false);
    return Tensors{c};
  });
}

INSTANTIATE_TEST_SUITE_P(Dtypes, CudaGemm, ::testing::ValuesIn(kNumbers),
                         [](const auto& numbers) { return std::string(numbers.param.name); });

TEST(CudaGemmSettings, Tf32RoundsTheInputsAlone) {
  FULCRUM_NEEDS_CUDA();
  const Tensor a = random_tensor({64, 256}, 1, -1, 1, DType::kF32), b = random_tensor({256, 64}, 2, -1, 1, DType::kF32);
  set_tf32(true);
  expect_same_on_both({2e-3}, [&]<class K>(Device device) {
    Tensor c = empty({64, 64}, {DType::kF32, device});
    K::gemm(c, a.to(device), false, b.to(device), false, {}, false);
    return Tensors{c};
  });
  set_tf32(false);
}

}  // namespace
}  // namespace fulcrum::testing
