// The gradient of weights by AMX's tiles beside sums in f64.
#include <cmath>

#include <fulcrum/core/cpu/conv_reference.h>
#include <fulcrum/core/cpu/tile_conv.h>

#include "testing.h"

namespace fulcrum::testing {
namespace {

using cpu::ConvPass;
using cpu::DirectConv;

DirectConv geometry(int n, int h, int w, int c_in, int c_out, int kernel, int stride, int padding) {
  return {.n = n,
          .h = h,
          .w = w,
          .c_in = c_in,
          .out_h = (h + 2 * padding - kernel) / stride + 1,
          .out_w = (w + 2 * padding - kernel) / stride + 1,
          .c_out = c_out,
          .kernel_h = kernel,
          .kernel_w = kernel,
          .stride = stride,
          .padding = padding};
}

std::string describe(const DirectConv& g) {
  return ::testing::PrintToString(
      std::vector<int>{g.n, g.h, g.w, g.c_in, g.c_out, g.kernel_h, g.kernel_w, g.stride, g.padding});
}

DirectConv oblong_kernel() {
  DirectConv g = geometry(2, 7, 9, 16, 16, 3, 1, 0);
  g.kernel_h = 1, g.out_h = 7;
  return g;
}

// Blocks of channels that are full, not full, odd in number, and more than one group of them; one pixel, rows of every
// length, images in one chunk, in several, and cut into bands; strides, kernels and paddings, a stride above the kernel,
// and a last row that no tap reads.
const DirectConv kGeometries[] = {
    geometry(2, 8, 8, 16, 16, 3, 1, 1),   geometry(3, 5, 7, 16, 48, 3, 1, 1),   geometry(1, 3, 3, 32, 16, 3, 1, 0),
    geometry(1, 1, 1, 1, 1, 1, 1, 0),     geometry(5, 13, 11, 20, 36, 3, 1, 2), geometry(7, 16, 16, 32, 32, 3, 1, 1),
    geometry(9, 32, 32, 3, 16, 3, 1, 1),  geometry(4, 8, 8, 196, 100, 3, 1, 1), geometry(3, 9, 7, 17, 33, 1, 1, 0),
    geometry(4, 16, 16, 16, 32, 3, 2, 1), geometry(3, 15, 13, 24, 8, 3, 2, 1),  geometry(3, 7, 9, 40, 24, 1, 2, 0),
    geometry(2, 33, 29, 3, 24, 7, 2, 3),  geometry(2, 20, 17, 8, 8, 5, 3, 2),   geometry(1, 90, 91, 64, 64, 3, 1, 1),
    geometry(2, 4, 4, 512, 512, 3, 1, 1), geometry(2, 3, 5, 600, 16, 1, 1, 0),  oblong_kernel(),
    geometry(1, 70, 65, 48, 80, 3, 2, 1), geometry(17, 2, 2, 64, 128, 3, 1, 1)};

struct Problem {
  DirectConv g;
  Tensor x, dy;

  explicit Problem(const DirectConv& d)
      : g(d),
        x(random_tensor({g.n, g.h, g.w, g.c_in}, 1, -1, 1, DType::kBf16)),
        dy(random_tensor({g.n, g.out_h, g.out_w, g.c_out}, 2, -1, 1, DType::kBf16)) {}

  Tensor result() const { return full({g.c_out, g.kernel_h, g.kernel_w, g.c_in}, std::nan("")); }

  std::vector<double> exact() const {
    Tensor dw = result().to(DType::kF64);
    cpu::reference_conv2d_weight_gradient(dw, dy.to(DType::kF64), x.to(DType::kF64),
                                          {g.n, g.h, g.w, g.c_in, g.out_h, g.out_w, g.c_out, g.kernel_h, g.kernel_w,
                                           g.stride, g.stride, g.padding, g.padding, 1, 1, 1});
    return dw.to_vector();
  }

  /// With scratch and result that are NaN before.
  std::vector<double> by_tiles(int threads) const {
    const auto floats = static_cast<int64_t>(cpu::tile_conv_scratch(g, ConvPass::kBackwardWeights, threads));
    Tensor scratch = full({floats}, std::nan("")), dw = result();
    cpu::tile_conv_backward_weights(dw.data<float>(), reinterpret_cast<const uint16_t*>(x.data<bf16>()),
                                    reinterpret_cast<const uint16_t*>(dy.data<bf16>()), scratch.data<float>(), g,
                                    threads);
    return dw.to_vector();
  }
};

TEST(TileConv, AgreesWithSumsInDouble) {
  if (!cpu::tiles_available()) GTEST_SKIP() << "this processor has no AMX, or the code was compiled without AVX-512";
  for (const DirectConv& g : kGeometries)
    for (int threads : {1, 2, 5}) {
      SCOPED_TRACE(describe(g) + ", threads " + std::to_string(threads));
      ASSERT_TRUE(cpu::tile_conv_supported(g));
      const Problem p(g);
      const std::vector<double> exact = p.exact(), values = p.by_tiles(threads);
      double scale = 0, most = 0;
      for (size_t i = 0; i < exact.size(); i++) {
        scale += exact[i] * exact[i];
        const double error = std::fabs(values[i] - exact[i]);
        if (!(error <= most)) most = error;  // a NaN stays
      }
      EXPECT_LT(most / std::sqrt(scale / static_cast<double>(exact.size())), 2e-5);
    }
}

TEST(TileConv, TheSameBitsInEveryRun) {
  if (!cpu::tiles_available()) GTEST_SKIP() << "this processor has no AMX, or the code was compiled without AVX-512";
  const Problem p(geometry(13, 16, 16, 48, 64, 3, 1, 1));
  EXPECT_EQ(p.by_tiles(3), p.by_tiles(3));
}

TEST(TileConv, SizesThatDoNotFitAreNotSupported) {
  DirectConv g = geometry(2, 8, 8, 16, 16, 3, 1, 1);
  EXPECT_TRUE(cpu::tile_conv_supported(g));
  g.out_w++;
  EXPECT_FALSE(cpu::tile_conv_supported(g));
  EXPECT_FALSE(cpu::tile_conv_supported(geometry(2, 8, 8, 16, 0, 3, 1, 1)));
  EXPECT_FALSE(cpu::tile_conv_supported(geometry(0, 8, 8, 16, 16, 3, 1, 1)));
}

TEST(TileConv, LeavesWhatIsMostlyZerosOrTooLargeForTheCacheToOthers) {
  EXPECT_TRUE(cpu::tile_conv_supported(geometry(8, 224, 224, 3, 64, 7, 2, 3)));
  EXPECT_TRUE(cpu::tile_conv_supported(geometry(8, 7, 7, 512, 2048, 3, 1, 1)));
  EXPECT_FALSE(cpu::tile_conv_supported(geometry(8, 7, 7, 512, 512, 7, 1, 0)));
  EXPECT_FALSE(cpu::tile_conv_supported(geometry(8, 224, 224, 3, 768, 16, 16, 0)));
  EXPECT_FALSE(cpu::tile_conv_supported(geometry(4, 32, 32, 8, 8, 1, 1000, 0)));
}

}  // namespace
}  // namespace fulcrum::testing
