// Winograd's convolution beside sums in f64 and beside the direct kernel, and at the borders.
#include <omp.h>

#include <cmath>

#include <fulcrum/core/cpu/conv_reference.h>
#include <fulcrum/core/cpu/winograd_conv.h>

#include "testing.h"

namespace fulcrum::testing {
namespace {

using cpu::ConvPass;
using cpu::DirectConv;

constexpr ConvPass kPasses[] = {ConvPass::kForward, ConvPass::kBackwardData, ConvPass::kBackwardWeights};

DirectConv geometry(int n, int h, int w, int c_in, int c_out, int padding) {
  return {.n = n,
          .h = h,
          .w = w,
          .c_in = c_in,
          .out_h = h + 2 * padding - 2,
          .out_w = w + 2 * padding - 2,
          .c_out = c_out,
          .kernel_h = 3,
          .kernel_w = 3,
          .stride = 1,
          .padding = padding};
}

Conv2dGeometry geometry(const DirectConv& g) {
  return {g.n, g.h, g.w, g.c_in, g.out_h, g.out_w, g.c_out, 3, 3, 1, 1, g.padding, g.padding, 1, 1, 1};
}

// x, dy and w, and the result of each pass in f64.
struct Problem {
  DirectConv g;
  Tensor x, dy, w;

  explicit Problem(const DirectConv& d, DType dtype = DType::kF32)
      : g(d),
        x(random_tensor({g.n, g.h, g.w, g.c_in}, 1, -1, 1, dtype)),
        dy(random_tensor({g.n, g.out_h, g.out_w, g.c_out}, 2, -1, 1, dtype)),
        w(random_tensor({g.c_out, 3, 3, g.c_in}, 3, -1, 1, DType::kF32)) {}

  Shape result_shape(ConvPass pass) const {
    return pass == ConvPass::kForward ? dy.shape() : pass == ConvPass::kBackwardData ? x.shape() : w.shape();
  }

  std::vector<double> reference(ConvPass pass) const {
    const Tensor x64 = x.to(DType::kF64), dy64 = dy.to(DType::kF64), w64 = w.to(DType::kF64);
    Tensor result = empty(result_shape(pass), {DType::kF64, {}});
    const Conv2dGeometry all = geometry(g);
    if (pass == ConvPass::kForward) cpu::reference_conv2d(result, x64, w64, {}, all);
    if (pass == ConvPass::kBackwardData) cpu::reference_conv2d_data_gradient(result, dy64, w64, all);
    if (pass == ConvPass::kBackwardWeights) cpu::reference_conv2d_weight_gradient(result, dy64, x64, all);
    return result.to_vector();
  }
};

enum class Way { kWinograd, kDirect };

// The kernels take bf16 as its bits.
template <class T, class Bits>
void run_as(Tensor& result, Way way, const Problem& p, ConvPass pass, float* scratch, int threads) {
  const bool winograd = way == Way::kWinograd;
  const auto *x = reinterpret_cast<const Bits*>(p.x.data<T>()), *dy = reinterpret_cast<const Bits*>(p.dy.data<T>());
  const float* w = p.w.data<float>();
  if (pass == ConvPass::kBackwardWeights) {
    const auto kernel = winograd ? cpu::winograd_conv_backward_weights<Bits> : cpu::direct_conv_backward_weights<Bits>;
    return kernel(result.data<float>(), x, dy, scratch, p.g, threads);
  }
  auto* out = reinterpret_cast<Bits*>(result.data<T>());
  if (pass == ConvPass::kForward) {
    const auto kernel = winograd ? cpu::winograd_conv_forward<Bits> : cpu::direct_conv_forward<Bits>;
    kernel(out, x, w, scratch, p.g, threads);
  } else {
    const auto kernel = winograd ? cpu::winograd_conv_backward_data<Bits> : cpu::direct_conv_backward_data<Bits>;
    kernel(out, dy, w, scratch, p.g, threads);
  }
}

/// The result of a kernel whose scratch and result are NaN before.
Tensor run(Way way, const Problem& p, ConvPass pass, int threads) {
  const DType dtype = p.x.dtype();
  const DType result_dtype = pass == ConvPass::kBackwardWeights ? DType::kF32 : dtype;
  Tensor result = full(p.result_shape(pass), std::nan(""), {result_dtype, {}});
  const size_t floats = way == Way::kWinograd ? cpu::winograd_conv_scratch(p.g, pass, threads)
                                              : cpu::direct_conv_scratch(p.g, pass, threads);
  Tensor scratch = full({static_cast<int64_t>(floats)}, std::nan(""));
  if (dtype == DType::kF32) {
    run_as<float, float>(result, way, p, pass, scratch.data<float>(), threads);
  } else {
    run_as<bf16, uint16_t>(result, way, p, pass, scratch.data<float>(), threads);
  }
  return result;
}

struct Errors {
  double root_mean_square, most;  // in units of the results' root mean square
};

Errors errors(const Tensor& result, const std::vector<double>& exact) {
  double sum = 0, most = 0, scale = 0;
  const std::vector<double> values = result.to_vector();
  for (size_t i = 0; i < exact.size(); i++) {
    const double error = std::fabs(values[i] - exact[i]);
    if (!(error <= most)) most = error;  // a NaN stays
    sum += error * error;
    scale += exact[i] * exact[i];
  }
  const auto n = static_cast<double>(exact.size());
  return {std::sqrt(sum / scale), most / std::sqrt(scale / n)};
}

// Whole and cut tiles, one tile, a last block that is not full, more threads than blocks; every padding;
// channels that do not fill a vector, one vector, or the last one.
const DirectConv kGeometries[] = {
    geometry(2, 8, 8, 16, 16, 1),   geometry(3, 5, 7, 16, 48, 1),  geometry(1, 3, 3, 32, 16, 0),
    geometry(1, 1, 2, 16, 16, 1),   geometry(2, 9, 6, 48, 32, 2),  geometry(5, 13, 11, 16, 32, 0),
    geometry(7, 16, 16, 32, 32, 1), geometry(1, 4, 40, 64, 64, 1), geometry(9, 8, 8, 64, 64, 1),
    geometry(2, 8, 8, 3, 16, 1),    geometry(2, 6, 9, 16, 5, 0),   geometry(3, 8, 8, 20, 36, 1),
    geometry(2, 5, 5, 49, 33, 2),   geometry(1, 9, 8, 1, 1, 1),    geometry(4, 8, 8, 196, 100, 1)};

std::string describe(const DirectConv& g, ConvPass pass) {
  return ::testing::PrintToString(std::vector<int>{g.n, g.h, g.w, g.c_in, g.c_out, g.padding}) + " pass " +
         std::to_string(static_cast<int>(pass));
}

TEST(WinogradConv, AgreesWithSumsInDouble) {
  for (const DirectConv& g : kGeometries)
    for (ConvPass pass : kPasses)
      for (int threads : {1, 3}) {
        SCOPED_TRACE(describe(g, pass));
        ASSERT_TRUE(cpu::winograd_conv_supported(g, pass));
        const Problem p(g);
        EXPECT_LT(errors(run(Way::kWinograd, p, pass, threads), p.reference(pass)).most, 2e-5);
      }
}

TEST(WinogradConv, RoundsBf16Once) {
  for (const DirectConv& g : kGeometries)
    for (ConvPass pass : kPasses) {
      SCOPED_TRACE(describe(g, pass));
      const Problem p(g, DType::kBf16);
      const Tensor result = run(Way::kWinograd, p, pass, 2);
      const std::vector<double> exact = p.reference(pass), values = result.to_vector();
      const double relative = result.dtype() == DType::kBf16 ? 1 / 256.0 : 0;
      double scale = 0;
      for (double e : exact) scale = std::max(scale, std::fabs(e));
      for (size_t i = 0; i < exact.size(); i++)
        ASSERT_NEAR(values[i], exact[i], relative * std::fabs(exact[i]) + 5e-6 * scale);
    }
}

TEST(WinogradConv, ErrsLittleMoreThanTheDirectKernel) {
  for (const DirectConv& g :
       {geometry(16, 32, 32, 16, 16, 1), geometry(8, 16, 16, 32, 32, 1), geometry(16, 8, 8, 64, 64, 1)})
    for (ConvPass pass : kPasses) {
      const Problem p(g);
      const std::vector<double> exact = p.reference(pass);
      const Errors winograd = errors(run(Way::kWinograd, p, pass, 2), exact);
      const Errors direct = errors(run(Way::kDirect, p, pass, 2), exact);
      // Measured: 2.1 times as much, and 3.1 to 4.8 times for the gradient of the weights.
      const double times = pass == ConvPass::kBackwardWeights ? 6 : 3;
      EXPECT_LT(winograd.root_mean_square, 1.2e-6) << describe(g, pass);
      EXPECT_LT(winograd.root_mean_square, times * direct.root_mean_square) << describe(g, pass);
    }
}

TEST(WinogradConv, DoesNotDependOnTheThreadsThatAreGranted) {
  const Problem p(geometry(7, 16, 16, 32, 32, 1));
  for (ConvPass pass : kPasses) {
    Tensor granted = run(Way::kWinograd, p, pass, 3), refused;
#pragma omp parallel num_threads(2)
    {
#pragma omp single
      refused = run(Way::kWinograd, p, pass, 3);  // nested: one thread does the work of three
    }
    EXPECT_EQ(granted.to_vector(), refused.to_vector()) << describe(p.g, pass);
  }
}

TEST(WinogradConv, KnowsWhatItCannotDo) {
  const DirectConv known = geometry(1, 8, 8, 16, 16, 1);
  for (ConvPass pass : kPasses) {
    EXPECT_TRUE(cpu::winograd_conv_supported(known, pass));
    DirectConv no_channels = known, stride = known, large = known, padding = geometry(1, 8, 8, 16, 16, 3);
    no_channels.c_in = 0;
    stride.stride = 2, stride.out_h = stride.out_w = 4;
    large.kernel_h = large.kernel_w = 5, large.padding = 2;
    for (const DirectConv& g : {no_channels, stride, large, padding})
      EXPECT_FALSE(cpu::winograd_conv_supported(g, pass));
  }
}

}  // namespace
}  // namespace fulcrum::testing
