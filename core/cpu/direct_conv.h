// Direct 2-D convolution for small channel counts on the CPU, for which library kernels do not use the
// whole machine: the three passes of a layer, on NHWC activations, without im2col.
//
//   DirectConv g{.n = 128, .h = 32, .w = 32, .c_in = 16, .out_h = 32, .out_w = 32,
//                .c_out = 16, .kernel_h = 3, .kernel_w = 3, .stride = 1, .padding = 1};
//   if (direct_conv_supported(g, ConvPass::kForward)) {
//     float* scratch = ...;  // direct_conv_scratch(g, ConvPass::kForward, threads) floats
//     direct_conv_forward(y, x, w, scratch, g, threads);
//   }
//
// x is [n, h, w, c_in], y is [n, out_h, out_w, c_out], w is [c_out, kernel_h, kernel_w, c_in].
// Activations are float, or bf16 held in uint16_t; weights, their gradients and all sums are float.
// With bf16 activations, weights are rounded to bf16 if multiplying pairs of bf16 pays (processor.h).
// Outputs are overwritten. Weight gradients depend on `threads`, but no result depends on how many
// threads OpenMP really supplies, nor on their timing. threads >= 1.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include <fulcrum/core/cpu/prefetch.h>
#include <fulcrum/core/cpu/processor.h>
#include <fulcrum/core/cpu/vectors.h>

#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

namespace fulcrum::cpu {

struct DirectConv {
  int n, h, w, c_in;
  int out_h, out_w, c_out;
  int kernel_h, kernel_w, stride, padding;
};

enum class ConvPass { kForward, kBackwardData, kBackwardWeights };

// Supports any geometry whose output size is consistent with the rest. Vectors run along the channels
// of the result, which must be a multiple of 8: c_out, or c_in for the gradient of the data.
bool direct_conv_supported(const DirectConv& g, ConvPass pass);

// The floats of scratch that a call needs: packed weights and one strip of input per thread, or for weight
// gradients one strip and one set of partial sums per thread. Align it to 64 bytes for speed.
std::size_t direct_conv_scratch(const DirectConv& g, ConvPass pass, int threads);

template <class T>
void direct_conv_forward(T* y, const T* x, const float* w, float* scratch, const DirectConv& g, int threads);

template <class T>
void direct_conv_backward_data(T* dx, const T* dy, const float* w, float* scratch, const DirectConv& g, int threads);

template <class T>
void direct_conv_backward_weights(float* dw, const T* x, const T* dy, float* scratch, const DirectConv& g, int threads);

// Implementation details shared by the passes.
namespace direct_conv_detail {

using namespace vectors;

inline std::uint32_t round_bf16(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >> 16) | 0x40;
  return (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
}

// Two bf16 that are multiplied and added in one instruction. The kernels work on words: floats or pairs.
struct Pair {
  std::uint32_t bits;
};

inline Vec load(const Pair* from) {
  Vec v;
  std::memcpy(&v, from, sizeof v);
  return v;
}

inline Vec add_product(Vec sum, Vec a, float b) { return sum + a * b; }

#if defined(__AVX512BF16__)
inline Vec add_product(Vec sum, Vec a, Pair b) {
  return (Vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)_mm512_set1_epi32(static_cast<int>(b.bits)));
}
#endif

// Reads words from one image of floats, of bf16 (as floats), or of pairs of channels.
template <class T>
struct OneImage {
  using Element = T;
  using Word = std::conditional_t<std::is_same_v<T, Pair>, Pair, float>;
  const T* first;

  void words(Word* to, ptrdiff_t at, ptrdiff_t count) const {
    if constexpr (std::is_same_v<T, Word>) {
      std::copy_n(first + at, count, to);
    } else {
      for (ptrdiff_t i = 0; i < count; ++i) {
        const std::uint32_t bits = static_cast<std::uint32_t>(first[at + i]) << 16;
        std::memcpy(to + i, &bits, sizeof bits);
      }
    }
  }
};

// Reads words that pair the same element of two images; without a second image, of the first one and zero.
struct TwoImages {
  using Element = std::uint16_t;
  using Word = Pair;
  const std::uint16_t *first, *second;

  void words(Pair* to, ptrdiff_t at, ptrdiff_t count) const {
    if (!second) {
      for (ptrdiff_t i = 0; i < count; ++i) to[i].bits = first[at + i];
      return;
    }
    for (ptrdiff_t i = 0; i < count; ++i) to[i].bits = first[at + i] | static_cast<std::uint32_t>(second[at + i]) << 16;
  }
};

// The operation behind the forward pass and, per phase, the gradient of the data. Pixel (r, c) of a grid is the sum
// over a < taps_h, b < taps_w and all channels of
//   in[r * step + a - pad_top, c * step + b - pad_left, :] * w(a, b), zero outside the input,
// and lands in out[r * out_step + out_row, c * out_step + out_col, :].
struct Correlation {
  int n, in_h, in_w, in_c;
  int grid_h, grid_w, out_c;
  int taps_h, taps_w, step, pad_top, pad_left;
  int out_h, out_w, out_step, out_row, out_col;

  int run() const { return taps_w * in_c; }  // contiguous words of a strip under one row of taps
  int depth() const { return taps_h * run(); }
  int strip_rows(int rows) const { return (rows - 1) * step + taps_h; }
  int strip_cols() const { return (grid_w - 1) * step + taps_w; }
  ptrdiff_t strip_pitch() const { return ptrdiff_t{strip_cols()} * in_c; }
};

Correlation forward_correlation(const DirectConv& g);

// The grid is processed in strips of whole rows: enough pixels to reuse data in the L1 cache, few
// enough for the strip to stay in L2, and at least one strip per thread if possible.
struct Strips {
  int rows, per_image;
  ptrdiff_t count;
  ptrdiff_t floats;  // size of the input under one strip

  Strips(const Correlation& g, int threads);
};

// Calls work(part, image, first row, rows) for each strip. Strips are divided into `threads` fixed
// parts, so that neither scratch nor sums depend on how many threads OpenMP supplies.
template <class Work>
void for_each_strip(const Correlation& g, int threads, Work work) {
  const Strips strips(g, threads);
#pragma omp parallel for schedule(static, 1) num_threads(threads)
  for (int part = 0; part < threads; ++part) {
    const ptrdiff_t end = strips.count * (part + 1) / threads;
    for (ptrdiff_t s = strips.count * part / threads; s < end; ++s) {
      const int first_row = static_cast<int>(s % strips.per_image) * strips.rows;
      work(part, s / strips.per_image, first_row, std::min(strips.rows, g.grid_h - first_row));
    }
  }
}

// Copies the input under grid rows [first_row, first_row + rows) to `strip`, as words and with a border
// of zeros, so that the kernels need to know neither borders nor layouts.
template <class Source, class Word = typename Source::Word>
void fill_strip(Word* strip, const Source& in, const Correlation& g, int first_row, int rows) {
  const ptrdiff_t pitch = g.strip_pitch();
  const int skipped = std::max(0, -g.pad_left), left = std::max(0, g.pad_left);
  const int cols = std::max(0, std::min(g.strip_cols() - left, g.in_w - skipped));
  const ptrdiff_t begin = std::min(pitch, ptrdiff_t{left} * g.in_c);
  const ptrdiff_t count = ptrdiff_t{cols} * g.in_c;
  for (int i = 0; i < g.strip_rows(rows); ++i, strip += pitch) {
    const int row = first_row * g.step + i - g.pad_top;
    if (row < 0 || row >= g.in_h || count == 0) {
      std::fill_n(strip, pitch, Word{});
      continue;
    }
    std::fill_n(strip, begin, Word{});
    in.words(strip + begin, (ptrdiff_t{row} * g.in_w + skipped) * g.in_c, count);
    std::fill(strip + begin + count, strip + pitch, Word{});
  }
}

std::size_t weight_gradient_scratch(const DirectConv& g, int threads);

}  // namespace direct_conv_detail
}  // namespace fulcrum::cpu
