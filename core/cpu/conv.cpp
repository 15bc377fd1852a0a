// Convolution: the choice between the ways of computing it.
//
// First the direct kernels, which beat the library for small numbers of channels; then oneDNN; then
// the reference. bf16 without a kernel of its own is computed in f32.
#include <omp.h>

#include <algorithm>
#include <limits>

#include <fulcrum/core/cpu/conv_reference.h>
#include <fulcrum/core/cpu/direct_conv.h>
#include <fulcrum/core/cpu/onednn.h>
#include <fulcrum/core/cpu/parallel.h>
#include <fulcrum/core/cpu/scratch.h>
#include <fulcrum/core/cpu/words.h>
#include <fulcrum/core/kernels.h>

namespace fulcrum {

namespace {

using cpu::compute_in;
using cpu::converted;
using cpu::ConvPass;
using cpu::DirectConv;

// ---- direct kernels -----------------------------------------------------------------------------

DirectConv direct_geometry(const Conv2dGeometry& g) {
  const auto size = [](int64_t s) { return static_cast<int>(s); };
  return {.n = size(g.n),
          .h = size(g.h),
          .w = size(g.w),
          .c_in = size(g.c),
          .out_h = size(g.out_h),
          .out_w = size(g.out_w),
          .c_out = size(g.out_c),
          .kernel_h = size(g.kernel_h),
          .kernel_w = size(g.kernel_w),
          .stride = size(g.stride_h),
          .padding = size(g.padding_h)};
}

// The direct kernels for few channels, save where their inner loops are short or skip most of the
// input, and for 1×1, which is a matrix product to the library. In bf16 both still beat converting.
// Measured on ResNet-50: from 128 channels on oneDNN takes 0.5 to 0.8 of the time with AVX-512, and
// 0.6 to 1.2 with AVX2; a 1×1 0.8, whatever its channels. Without oneDNN the bound is where the
// direct kernels themselves fall to half their speed.
bool use_direct(const Conv2dGeometry& g, ConvPass pass, DType dtype) {
  constexpr int64_t kMost = std::numeric_limits<int>::max(), kShortRun = 16;
  constexpr int64_t kManyChannels = cpu::kHasOnednn ? 128 : 512;
  const bool known = dtype == DType::kF32 || dtype == DType::kBf16;
  const bool square = g.stride_h == g.stride_w && g.padding_h == g.padding_w && g.dilation_h == 1 &&
                      g.dilation_w == 1 && g.groups == 1;
  const bool fits = std::max({g.n, g.h, g.w, g.c, g.out_c}) <= kMost;
  if (!known || !square || !fits) return false;
  const bool few = std::min(g.c, g.out_c) < kManyChannels;
  const bool product = cpu::kHasOnednn && g.kernel_h == 1 && g.kernel_w == 1;
  const bool long_run = dtype == DType::kBf16 || (g.kernel_w * g.c >= kShortRun && !product);
  const bool skips = g.kernel_h < g.stride_h || g.kernel_w < g.stride_w;
  return few && long_run && !skips && cpu::direct_conv_supported(direct_geometry(g), pass);
}

Tensor direct_scratch(const DirectConv& d, ConvPass pass, int threads) {
  const size_t floats = cpu::direct_conv_scratch(d, pass, threads);
  return empty({static_cast<int64_t>(std::max<size_t>(1, floats))});
}

// The direct kernels take bf16 as its bits.
uint16_t* bits(bf16* p) {
  return reinterpret_cast<uint16_t*>(p);
}
const uint16_t* bits(const bf16* p) {
  return reinterpret_cast<const uint16_t*>(p);
}
float* bits(float* p) {
  return p;
}
const float* bits(const float* p) {
  return p;
}

/// Calls f.operator()<T>() with T = float or bf16.
template <class F>
void visit_direct(DType dtype, F f) {
  if (dtype == DType::kF32) {
    f.template operator()<float>();
  } else {
    f.template operator()<bf16>();
  }
}

template <class T>
void add_bias(Tensor& y, const Tensor& bias) {
  const int64_t channels = bias.numel(), rows = y.numel() / channels;
  const Tensor values = converted(bias, DType::kF32);
  const float* b = values.data<float>();
  T* py = y.data<T>();
  cpu::parallel_for(rows, cpu::kGrain / channels, [=](int64_t begin, int64_t end) {
    for (T* to = py + begin * channels; to < py + end * channels; to += channels) {
#pragma omp simd
      for (int64_t c = 0; c < channels; c++) cpu::store(to[c], static_cast<float>(to[c]) + b[c]);
    }
  });
}

}  // namespace

void Cpu::conv2d(Tensor& y, const Tensor& x, const Tensor& w, const Tensor& bias,
                 const Conv2dGeometry& g) {
  if (use_direct(g, ConvPass::kForward, x.dtype())) {
    const DirectConv d = direct_geometry(g);
    const int threads = omp_get_max_threads();
    Tensor scratch = direct_scratch(d, ConvPass::kForward, threads);
    const Tensor w32 = converted(w, DType::kF32);
    visit_direct(x.dtype(), [&]<class T>() {
      cpu::direct_conv_forward(bits(y.data<T>()), bits(x.data<T>()), w32.data<float>(),
                               scratch.data<float>(), d, threads);
      if (bias) add_bias<T>(y, bias);
    });
    return;
  }
  if (cpu::onednn_conv2d(y, x, w, bias, g)) return;
  const DType dtype = cpu::library_dtype(x.dtype());
  compute_in(dtype, y, [&](Tensor& out) {
    const Tensor in = converted(x, dtype), weight = converted(w, dtype);
    const Tensor added = converted(bias, dtype);
    if (!cpu::onednn_conv2d(out, in, weight, added, g))
      cpu::reference_conv2d(out, in, weight, added, g);
  });
}

void Cpu::conv2d_data_gradient(Tensor& dx, const Tensor& dy, const Tensor& w,
                               const Conv2dGeometry& g) {
  if (use_direct(g, ConvPass::kBackwardData, dy.dtype())) {
    const DirectConv d = direct_geometry(g);
    const int threads = omp_get_max_threads();
    Tensor scratch = direct_scratch(d, ConvPass::kBackwardData, threads);
    const Tensor w32 = converted(w, DType::kF32);
    visit_direct(dy.dtype(), [&]<class T>() {
      cpu::direct_conv_backward_data(bits(dx.data<T>()), bits(dy.data<T>()), w32.data<float>(),
                                     scratch.data<float>(), d, threads);
    });
    return;
  }
  if (cpu::onednn_conv2d_data_gradient(dx, dy, w, g)) return;
  const DType dtype = cpu::library_dtype(dy.dtype());
  compute_in(dtype, dx, [&](Tensor& out) {
    const Tensor in = converted(dy, dtype), weight = converted(w, dtype);
    if (!cpu::onednn_conv2d_data_gradient(out, in, weight, g))
      cpu::reference_conv2d_data_gradient(out, in, weight, g);
  });
}

void Cpu::conv2d_weight_gradient(Tensor& dw, const Tensor& dy, const Tensor& x,
                                 const Conv2dGeometry& g) {
  const DType dtype = cpu::library_dtype(x.dtype());
  if (use_direct(g, ConvPass::kBackwardWeights, x.dtype())) {
    const DirectConv d = direct_geometry(g);
    const int threads = omp_get_max_threads();
    Tensor scratch = direct_scratch(d, ConvPass::kBackwardWeights, threads);
    compute_in(dtype, dw, [&](Tensor& out) {
      visit_direct(x.dtype(), [&]<class T>() {
        cpu::direct_conv_backward_weights(out.data<float>(), bits(x.data<T>()), bits(dy.data<T>()),
                                          scratch.data<float>(), d, threads);
      });
    });
    return;
  }
  if (cpu::onednn_conv2d_weight_gradient(dw, dy, x, g)) return;
  compute_in(dtype, dw, [&](Tensor& out) {
    const Tensor gradient = converted(dy, dtype), in = converted(x, dtype);
    if (!cpu::onednn_conv2d_weight_gradient(out, gradient, in, g))
      cpu::reference_conv2d_weight_gradient(out, gradient, in, g);
  });
}

}  // namespace fulcrum
