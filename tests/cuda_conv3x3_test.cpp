// Convolutions by our own tensor-core kernels, against the CPU's.
#include <fulcrum/core/cuda/conv3x3.h>
#include <fulcrum/core/cuda/conv_trial.h>

#include <numeric>

#include "device_testing.h"

namespace fulcrum::testing {
namespace {

using cuda::ConvPass;
using cuda::ConvProblem;

Conv2dGeometry geometry(int64_t n, int64_t h, int64_t w, int64_t channels) {
  return {n, h, w, channels, h, w, channels, 3, 3, 1, 1, 1, 1, 1, 1, 1};
}

ConvProblem problem(ConvPass pass, const Conv2dGeometry& g) { return {pass, DType::kBf16, false, false, g}; }

/// Sizes that fill tiles, leave some of one empty, and are smaller than one.
struct Size {
  int64_t n, h, w;
};
const Size kSizes[] = {{2, 16, 16}, {3, 8, 8}, {1, 9, 17}, {5, 3, 2}, {1, 1, 1}, {2, 7, 33}};

class CudaConv3x3 : public ::testing::TestWithParam<std::tuple<int64_t, Size>> {
 protected:
  const Size size = std::get<1>(GetParam());
  const Conv2dGeometry g = geometry(size.n, size.h, size.w, std::get<0>(GetParam()));
  const Tensor x = random_tensor({g.n, g.h, g.w, g.c}, 1, -1, 1, DType::kBf16);
  const Tensor w = random_tensor({g.out_c, 3, 3, g.c}, 2, -1, 1, DType::kBf16);
  const Tensor dy = random_tensor({g.n, g.h, g.w, g.out_c}, 3, -1, 1, DType::kBf16);

  /// Runs a pass into memory of NaN, of which all must be written.
  void expect_as_on_cpu(ConvPass pass, const Tensor& expected) {
    FULCRUM_NEEDS_CUDA();
    const Device gpu("cuda");
    cuda::use_device(gpu.index);
    ASSERT_TRUE(cuda::conv3x3_fits(problem(pass, g)));
    Tensor out = full(expected.shape(), std::nan(""), {DType::kBf16, gpu});
    const Tensor dx = x.to(gpu), dw = w.to(gpu), ddy = dy.to(gpu);
    cuda::ConvPointers pointers{dx.raw(), dw.raw(), ddy.raw()};
    (pass == ConvPass::kForward ? pointers.y : pass == ConvPass::kDataGradient ? pointers.x : pointers.w) = out.raw();
    cuda::conv3x3(problem(pass, g), pointers);
    EXPECT_TRUE(all_close(out, expected, {1.0 / 128}));
  }
};

TEST_P(CudaConv3x3, Forward) {
  Tensor y = empty(dy.shape(), options_of(dy));
  Cpu::conv2d(y, x, w, {}, g);
  expect_as_on_cpu(ConvPass::kForward, y);
}

TEST_P(CudaConv3x3, DataGradient) {
  Tensor dx = empty(x.shape(), options_of(x));
  Cpu::conv2d_data_gradient(dx, dy, w, g);
  expect_as_on_cpu(ConvPass::kDataGradient, dx);
}

TEST_P(CudaConv3x3, WeightGradient) {
  Tensor dw = empty(w.shape(), options_of(w));
  Cpu::conv2d_weight_gradient(dw, dy, x, g);
  expect_as_on_cpu(ConvPass::kWeightGradient, dw);
}

// What `--cudnn-benchmark` asks of these kernels before they compete. One wrong element shows, here one of the larger: of
// an image of 1×1 most are 0.
TEST_P(CudaConv3x3, ATrialTellsRightFromWrong) {
  FULCRUM_NEEDS_CUDA();
  const Device gpu("cuda");
  cuda::use_device(gpu.index);
  for (const ConvPass pass : {ConvPass::kForward, ConvPass::kDataGradient, ConvPass::kWeightGradient}) {
    SCOPED_TRACE(cuda::name_of(pass));
    cuda::ConvTrial trial(problem(pass, g), gpu);
    const auto on_host = [&](const void* memory, const Shape& shape) {
      Tensor t = empty(shape, {DType::kBf16, {}});
      cuda::copy(t.raw(), Device(), memory, gpu, static_cast<size_t>(t.numel()) * sizeof(bf16));
      return t;
    };
    const cuda::ConvPointers p = trial.pointers();
    Tensor hx = on_host(p.x, x.shape()), hw = on_host(p.w, w.shape()), hy = on_host(p.y, dy.shape());
    cuda::conv3x3(problem(pass, g), p);
    Tensor own = trial.result().to(Device());
    if (pass == ConvPass::kForward) Cpu::conv2d(hy, hx, hw, {}, g);
    if (pass == ConvPass::kDataGradient) Cpu::conv2d_data_gradient(hx, hy, hw, g);
    if (pass == ConvPass::kWeightGradient) Cpu::conv2d_weight_gradient(hw, hy, hx, g);
    trial.result().copy_from(pass == ConvPass::kForward ? hy : pass == ConvPass::kDataGradient ? hx : hw);
    EXPECT_LE(trial.difference(own.to(gpu)), cuda::ConvTrial::kAgrees);
    const auto values = own.to_vector();
    std::vector<size_t> order(values.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::ranges::sort(order, {}, [&](size_t i) { return std::abs(values[i]); });
    own.data<bf16>()[order[order.size() - 1 - order.size() / 32]] = bf16(0.0f);
    EXPECT_GT(trial.difference(own.to(gpu)), cuda::ConvTrial::kAgrees);
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, CudaConv3x3,
                         ::testing::Combine(::testing::Values(16, 32, 64), ::testing::ValuesIn(kSizes)),
                         [](const auto& test) {
                           const Size& size = std::get<1>(test.param);
                           return concat_text(std::get<0>(test.param), "_of_", size.n, "x", size.h, "x", size.w);
                         });

// More tiles than there are blocks: each sums over several.
TEST(CudaConv3x3Weights, SumOverManyTiles) {
  FULCRUM_NEEDS_CUDA();
  const Device gpu("cuda");
  cuda::use_device(gpu.index);
  for (const auto& g : {geometry(150, 8, 32, 16), geometry(91, 8, 17, 32), geometry(50, 8, 16, 64)}) {
    const Tensor x = random_tensor({g.n, g.h, g.w, g.c}, 1, -1, 1, DType::kBf16);
    const Tensor dy = random_tensor({g.n, g.h, g.w, g.c}, 2, -1, 1, DType::kBf16);
    Tensor expected = empty({g.c, 3, 3, g.c}, options_of(x)), dw = empty(expected.shape(), {DType::kBf16, gpu});
    Cpu::conv2d_weight_gradient(expected, dy, x, g);
    const Tensor gx = x.to(gpu), gdy = dy.to(gpu);
    cuda::conv3x3(problem(ConvPass::kWeightGradient, g), {gx.raw(), dw.raw(), gdy.raw()});
    EXPECT_TRUE(all_close(dw, expected, {1.0 / 128}));
  }
}

TEST(CudaConv3x3Fits, OnlyWhatTheKernelsCompute) {
  const Conv2dGeometry g = geometry(2, 8, 8, 32);
  const auto fits = [](Conv2dGeometry changed, DType dtype = DType::kBf16, bool bias = false) {
    return cuda::conv3x3_fits({ConvPass::kForward, dtype, bias, false, changed});
  };
  EXPECT_TRUE(fits(g));
  EXPECT_FALSE(fits(g, DType::kF32));
  EXPECT_FALSE(fits(g, DType::kBf16, true));
  for (const auto change : {+[](Conv2dGeometry& c) { c.out_c = 64; }, +[](Conv2dGeometry& c) { c.c = c.out_c = 48; },
                            +[](Conv2dGeometry& c) { c.groups = 2; }, +[](Conv2dGeometry& c) { c.stride_w = 2; },
                            +[](Conv2dGeometry& c) { c.padding_h = 0; }, +[](Conv2dGeometry& c) { c.dilation_h = 2; },
                            +[](Conv2dGeometry& c) { c.kernel_w = 1; }}) {
    Conv2dGeometry other = g;
    change(other);
    EXPECT_FALSE(fits(other));
  }
}

}  // namespace
}  // namespace fulcrum::testing
