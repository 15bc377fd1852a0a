// Convolution: chooses among the implementations.
//
// First choice is Winograd's method where it applies and pays; then the direct kernels, where they beat oneDNN; then
// oneDNN; then the reference. bf16 without a kernel of its own is computed in f32. On processors with AMX, bf16 goes to
// oneDNN, which uses the AMX tiles, except for the gradient of the weights, which our own tile kernel computes.
#include <omp.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <type_traits>

#include <fulcrum/core/cpu/conv_reference.h>
#include <fulcrum/core/cpu/direct_conv.h>
#include <fulcrum/core/cpu/onednn.h>
#include <fulcrum/core/cpu/parallel.h>
#include <fulcrum/core/cpu/scratch.h>
#include <fulcrum/core/cpu/tile_conv.h>
#include <fulcrum/core/cpu/winograd_conv.h>
#include <fulcrum/core/cpu/words.h>
#include <fulcrum/core/kept_weights.h>
#include <fulcrum/core/kernels.h>

namespace fulcrum {

namespace {

using cpu::compute_in;
using cpu::converted;
using cpu::ConvPass;
using cpu::DirectConv;

// ---- our own kernels ----------------------------------------------------------------------------

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

// Equal stride and padding in both dimensions, no dilation or groups, f32 or bf16, and sizes that fit an int.
bool is_plain(const Conv2dGeometry& g, DType dtype) {
  constexpr int64_t kMost = std::numeric_limits<int>::max();
  const bool known = dtype == DType::kF32 || dtype == DType::kBf16;
  const bool square =
      g.stride_h == g.stride_w && g.padding_h == g.padding_w && g.dilation_h == 1 && g.dilation_w == 1 && g.groups == 1;
  return known && square && std::max({g.n, g.h, g.w, g.c, g.out_c}) <= kMost;
}

// Use Winograd's method if there are enough tiles to pay for transforming the weights, which makes them four times as
// large and is done in every call: per thread, a quarter as many tiles as channels, and at least kLeastTiles. Where the
// other kernels multiply pairs of bf16, it takes as many tiles as channels, and enough channels to pay for the
// transforms. Padding channels to whole vectors may add at most half to the work. The bounds are measured by
// tests/conv_bench.cpp. A tile at the border counts only for the part of it that is used.
bool use_winograd(const Conv2dGeometry& g, ConvPass pass, DType dtype) {
  constexpr int64_t kLeastTiles = 16;
  if (!is_plain(g, dtype) || !cpu::winograd_conv_supported(direct_geometry(g), pass)) return false;
  if (std::min(g.out_h, g.out_w) < cpu::kWinogradTile) return false;
  const auto filled = [](int64_t c) { return int64_t{cpu::winograd_channels(static_cast<int>(c))}; };
  if (2 * filled(g.c) * filled(g.out_c) > 3 * g.c * g.out_c) return false;
  const int64_t channels = std::min(g.c, g.out_c), threads = omp_get_max_threads();
  const int64_t tiles = g.n * g.out_h * g.out_w / (cpu::kWinogradTile * cpu::kWinogradTile);
  if (dtype == DType::kBf16 && cpu::bf16_pairs_pay()) return channels >= 64 && tiles >= channels;
  return tiles >= threads * std::max(kLeastTiles, channels / 4);
}

// Use the direct kernels for few channels, but not where their inner loops are short or skip most of the input, nor for
// 1×1, which oneDNN computes as a matrix product. In bf16, short loops and 1×1 still beat converting to f32. With
// AVX-512 (for bf16: with its bf16 pairs) oneDNN takes 0.6 to 0.9 of their time (tests/conv_bench.cpp), except for the
// gradient of the weights in bf16, where it takes up to five times as long. With AVX2 it draws level at 128 channels.
// Without oneDNN, the bound is where the direct kernels fall to half their speed.
bool use_direct(const Conv2dGeometry& g, ConvPass pass, DType dtype) {
  constexpr int64_t kShortRun = 16, kManyChannels = cpu::kHasOnednn ? 128 : 512;
  constexpr bool kAvx512 = cpu::vectors::kVectorBytes == 64;
  if (!is_plain(g, dtype)) return false;
  const bool bf16_weights = dtype == DType::kBf16 && pass == ConvPass::kBackwardWeights;
  const bool onednn_is_faster =
      cpu::kHasOnednn && (dtype == DType::kBf16 ? cpu::onednn_multiplies_bf16() : kAvx512) && !bf16_weights;
  const bool few = std::min(g.c, g.out_c) < kManyChannels;
  const bool product = cpu::kHasOnednn && g.kernel_h == 1 && g.kernel_w == 1;
  const bool long_run = dtype == DType::kBf16 || (g.kernel_w * g.c >= kShortRun && !product);
  const bool skips = g.kernel_h < g.stride_h || g.kernel_w < g.stride_w;
  return !onednn_is_faster && few && long_run && !skips && cpu::direct_conv_supported(direct_geometry(g), pass);
}

bool use_tiles(const Conv2dGeometry& g, ConvPass pass, DType dtype) {
  return dtype == DType::kBf16 && pass == ConvPass::kBackwardWeights && is_plain(g, dtype) && cpu::tiles_available() &&
         cpu::tile_conv_supported(direct_geometry(g));
}

// One of our own kernels for a pass.
struct OwnWay {
  std::size_t (*scratch)(const DirectConv&, ConvPass, int);
  ConvPass pass;
  enum Kernel { kDirect, kWinograd, kTiles } kernel;
};

std::optional<OwnWay> own_way(const Conv2dGeometry& g, ConvPass pass, DType dtype) {
  if (use_tiles(g, pass, dtype)) return OwnWay{cpu::tile_conv_scratch, pass, OwnWay::kTiles};
  if (dtype == DType::kBf16 && cpu::onednn_has_tiles() && pass != ConvPass::kBackwardWeights) return std::nullopt;
  if (use_winograd(g, pass, dtype)) return OwnWay{cpu::winograd_conv_scratch, pass, OwnWay::kWinograd};
  if (use_direct(g, pass, dtype)) return OwnWay{cpu::direct_conv_scratch, pass, OwnWay::kDirect};
  return std::nullopt;
}

/// Allocates scratch and calls kernel(scratch, geometry, threads).
template <class Kernel>
void run_own(const OwnWay& way, const Conv2dGeometry& g, Kernel kernel) {
  const DirectConv d = direct_geometry(g);
  const int threads = omp_get_max_threads();
  const auto floats = static_cast<int64_t>(way.scratch(d, way.pass, threads));
  Tensor scratch = empty({std::max<int64_t>(1, floats)});
  kernel(scratch.data<float>(), d, threads);
}

// Our kernels take bf16 as uint16_t.
template <class T>
using Bits = std::conditional_t<std::is_same_v<T, bf16>, uint16_t, T>;

template <class T>
Bits<T>* bits(T* p) {
  return reinterpret_cast<Bits<T>*>(p);
}
template <class T>
const Bits<T>* bits(const T* p) {
  return reinterpret_cast<const Bits<T>*>(p);
}

/// Calls f.operator()<T>() with T = float or bf16.
template <class F>
void visit_own(DType dtype, F f) {
  if (dtype == DType::kF32) {
    f.template operator()<float>();
  } else {
    f.template operator()<bf16>();
  }
}

/// Returns the weights in another dtype.
Tensor cast_weight(const Tensor& w, DType dtype, const Conv2dGeometry& g) {
  if (w.dtype() == dtype) return w;
  return kept_weight(w, {WeightForm::kCast, g, dtype, 0}, [&] { return converted(w, dtype); });
}

/// Returns the transformed weights for winograd_conv_forward_with. `scratch` is the scratch of the pass.
Tensor winograd_weight(const Tensor& w, float* scratch, const Conv2dGeometry& g, int threads) {
  const DirectConv d = direct_geometry(g);
  return kept_weight(w, {WeightForm::kWinograd, g, DType::kF32, threads}, [&] {
    Tensor u = empty({static_cast<int64_t>(cpu::winograd_conv_weights_size(d))});
    cpu::winograd_conv_weights(u.data<float>(), w.data<float>(), scratch, d, threads);
    return u;
  });
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

void Cpu::conv2d(Tensor& y, const Tensor& x, const Tensor& w, const Tensor& bias, const Conv2dGeometry& g) {
  if (const auto way = own_way(g, ConvPass::kForward, x.dtype())) {
    const Tensor w32 = cast_weight(w, DType::kF32, g);
    visit_own(x.dtype(), [&]<class T>() {
      run_own(*way, g, [&](float* scratch, const DirectConv& d, int threads) {
        Bits<T>* to = bits(y.data<T>());
        const Bits<T>* from = bits(x.data<T>());
        if (way->kernel == OwnWay::kDirect)
          return cpu::direct_conv_forward(to, from, w32.data<float>(), scratch, d, threads);
        if (!KeptWeights::active)  // the scratch has room for the transforms
          return cpu::winograd_conv_forward(to, from, w32.data<float>(), scratch, d, threads);
        const Tensor u = winograd_weight(w32, scratch, g, threads);
        cpu::winograd_conv_forward_with(to, from, u.data<float>(), scratch, d, threads);
      });
      if (bias) add_bias<T>(y, bias);
    });
    return;
  }
  if (cpu::onednn_conv2d(y, x, w, bias, g)) return;
  const DType dtype = master_dtype(x.dtype());
  compute_in(dtype, y, [&](Tensor& out) {
    const Tensor in = converted(x, dtype), weight = cast_weight(w, dtype, g);
    const Tensor added = converted(bias, dtype);
    if (!cpu::onednn_conv2d(out, in, weight, added, g)) cpu::reference_conv2d(out, in, weight, added, g);
  });
}

void Cpu::conv2d_data_gradient(Tensor& dx, const Tensor& dy, const Tensor& w, const Conv2dGeometry& g) {
  if (const auto way = own_way(g, ConvPass::kBackwardData, dy.dtype())) {
    const Tensor w32 = converted(w, DType::kF32);
    visit_own(dy.dtype(), [&]<class T>() {
      const auto kernel = way->kernel == OwnWay::kWinograd ? cpu::winograd_conv_backward_data<Bits<T>>
                                                           : cpu::direct_conv_backward_data<Bits<T>>;
      run_own(*way, g, [&](float* scratch, const DirectConv& d, int threads) {
        kernel(bits(dx.data<T>()), bits(dy.data<T>()), w32.data<float>(), scratch, d, threads);
      });
    });
    return;
  }
  if (cpu::onednn_conv2d_data_gradient(dx, dy, w, g)) return;
  const DType dtype = master_dtype(dy.dtype());
  compute_in(dtype, dx, [&](Tensor& out) {
    const Tensor in = converted(dy, dtype), weight = converted(w, dtype);
    if (!cpu::onednn_conv2d_data_gradient(out, in, weight, g)) cpu::reference_conv2d_data_gradient(out, in, weight, g);
  });
}

void Cpu::conv2d_weight_gradient(Tensor& dw, const Tensor& dy, const Tensor& x, const Conv2dGeometry& g) {
  const DType dtype = master_dtype(x.dtype());
  if (const auto way = own_way(g, ConvPass::kBackwardWeights, x.dtype())) {
    compute_in(dtype, dw, [&](Tensor& out) {
      visit_own(x.dtype(), [&]<class T>() {
        auto kernel = cpu::direct_conv_backward_weights<Bits<T>>;
        if (way->kernel == OwnWay::kWinograd) kernel = cpu::winograd_conv_backward_weights<Bits<T>>;
        if constexpr (std::is_same_v<T, bf16>) {
          if (way->kernel == OwnWay::kTiles) kernel = cpu::tile_conv_backward_weights;
        }
        run_own(*way, g, [&](float* scratch, const DirectConv& d, int threads) {
          kernel(out.data<float>(), bits(x.data<T>()), bits(dy.data<T>()), scratch, d, threads);
        });
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
