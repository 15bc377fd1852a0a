// Direct 2-D convolution for small channel counts on the CPU, where library kernels leave some of
// the machine idle: the three passes of a layer, on NHWC activations, without im2col.
//
//   DirectConv g{.n = 128, .h = 32, .w = 32, .c_in = 16, .out_h = 32, .out_w = 32,
//                .c_out = 16, .kernel_h = 3, .kernel_w = 3, .stride = 1, .padding = 1};
//   if (direct_conv_supported(g, ConvPass::kForward)) {
//     float* scratch = ...;  // direct_conv_scratch(g, ConvPass::kForward, threads) floats
//     direct_conv_forward(y, x, w, scratch, g, threads);
//   }
//
// x is [n, h, w, c_in], y is [n, out_h, out_w, c_out], w is [c_out, kernel_h, kernel_w, c_in].
// Activations are float, or bf16 held in uint16_t; weights, their gradients and all sums are
// float; where the processor multiplies pairs of bf16, weights are rounded to bf16 with bf16
// activations. Outputs are overwritten. Results depend on `threads` (weight gradients only), never
// on how many threads OpenMP really supplies nor on their timing. threads >= 1.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

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

// Any geometry whose output size follows from the rest. Vectors run along the channels of the
// result, so these come in eights: c_out, but c_in for the gradient of the data.
bool direct_conv_supported(const DirectConv& g, ConvPass pass);

// Floats of scratch a call needs: packed weights and one strip of input (and one set of partial
// sums) per thread. Align it to 64 bytes for speed.
std::size_t direct_conv_scratch(const DirectConv& g, ConvPass pass, int threads);

template <class T>
void direct_conv_forward(T* y, const T* x, const float* w, float* scratch, const DirectConv& g,
                         int threads);

template <class T>
void direct_conv_backward_data(T* dx, const T* dy, const float* w, float* scratch,
                               const DirectConv& g, int threads);

template <class T>
void direct_conv_backward_weights(float* dw, const T* x, const T* dy, float* scratch,
                                  const DirectConv& g, int threads);

// The rest is what the passes share, and not for callers.
namespace direct_conv_detail {

using std::ptrdiff_t;

// A register tile of kTile x 2 accumulators, two vectors of the streamed operand and a broadcast
// must fit the register file: 15 of 16, on AVX-512 27 of 32.
#if defined(__AVX512F__)
inline constexpr int kVectorBytes = 64, kTile = 12;
#elif defined(__AVX2__)
inline constexpr int kVectorBytes = 32, kTile = 6;
#else
inline constexpr int kVectorBytes = 16, kTile = 6;
#endif
inline constexpr int kLanes = kVectorBytes / 4;
typedef float Vec __attribute__((vector_size(kVectorBytes)));
typedef std::uint32_t Bits __attribute__((vector_size(kVectorBytes)));
typedef std::uint16_t Half __attribute__((vector_size(kVectorBytes / 2)));

inline Vec load(const float* from) {
  Vec v;
  std::memcpy(&v, from, sizeof v);
  return v;
}

inline Vec load(const std::uint16_t* from) {
  Half half;
  std::memcpy(&half, from, sizeof half);
  const Bits bits = __builtin_convertvector(half, Bits) << 16;
  Vec v;
  std::memcpy(&v, &bits, sizeof v);
  return v;
}

inline void store(float* to, Vec v) {
  std::memcpy(to, &v, sizeof v);
}

// Rounds to nearest even; a NaN must not round up into an infinity or a zero.
inline void store(std::uint16_t* to, Vec v) {
  Bits bits;
  std::memcpy(&bits, &v, sizeof v);
  const Bits rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  const Bits quiet_nan = (bits >> 16) | 0x40;
  const Half half =
      __builtin_convertvector((bits & 0x7fffffff) > 0x7f800000 ? quiet_nan : rounded, Half);
  std::memcpy(to, &half, sizeof half);
}

inline std::uint32_t round_bf16(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >> 16) | 0x40;
  return (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
}

// Two bf16 that are multiplied and summed as one. The kernels take words: floats or pairs.
struct Pair {
  std::uint32_t bits;
};

inline Vec load(const Pair* from) {
  Vec v;
  std::memcpy(&v, from, sizeof v);
  return v;
}

inline Vec add_product(Vec sum, Vec a, float b) {
  return sum + a * b;
}

#if defined(__AVX512BF16__)
inline constexpr bool kPairs = true;
inline Vec add_product(Vec sum, Vec a, Pair b) {
  return (Vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a,
                               (__m512bh)_mm512_set1_epi32(static_cast<int>(b.bits)));
}
#else
inline constexpr bool kPairs = false;
#endif

template <class T>
void store_lanes(T* to, Vec v, ptrdiff_t lanes) {
  if (lanes >= kLanes) return store(to, v);
  T all[kLanes];
  store(all, v);
  std::copy_n(all, lanes, to);
}

inline ptrdiff_t round_up(ptrdiff_t value, int multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// Parts of the scratch begin on cache lines of their own.
inline ptrdiff_t padded(ptrdiff_t floats) {
  return round_up(floats, 16);
}

// Where words come from: an image of floats, of bf16 (then the words are floats) or of pairs of
// channels.
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

// Pairs of the same element of two images; without a second one, of it and zero.
struct TwoImages {
  using Element = std::uint16_t;
  using Word = Pair;
  const std::uint16_t *first, *second;

  void words(Pair* to, ptrdiff_t at, ptrdiff_t count) const {
    if (!second) {
      for (ptrdiff_t i = 0; i < count; ++i) to[i].bits = first[at + i];
      return;
    }
    for (ptrdiff_t i = 0; i < count; ++i)
      to[i].bits = first[at + i] | static_cast<std::uint32_t>(second[at + i]) << 16;
  }
};

// What forward and both kinds of data gradient have in common. Pixel (r, c) of a grid is the sum
// over a < taps_h, b < taps_w and all channels of
//   in[r * step + a - pad_top, c * step + b - pad_left, :] * w(a, b), zero outside the input,
// and lands in out[r * out_step + out_row, c * out_step + out_col, :].
struct Correlation {
  int n, in_h, in_w, in_c;
  int grid_h, grid_w, out_c;
  int taps_h, taps_w, step, pad_top, pad_left;
  int out_h, out_w, out_step, out_row, out_col;

  int run() const { return taps_w * in_c; }  // contiguous floats of a strip under one row of taps
  int depth() const { return taps_h * run(); }
  int strip_rows(int rows) const { return (rows - 1) * step + taps_h; }
  int strip_cols() const { return (grid_w - 1) * step + taps_w; }
  ptrdiff_t strip_pitch() const { return ptrdiff_t{strip_cols()} * in_c; }
};

Correlation forward_correlation(const DirectConv& g);

// The grid is worked through in strips of full rows: enough pixels to reuse what is in the L1
// cache, few enough for the strip to stay in L2, and a strip for every thread if possible.
struct Strips {
  int rows, per_image;
  ptrdiff_t count;
  ptrdiff_t floats;  // of the input under one strip

  Strips(const Correlation& g, int threads);
};

// Calls work(part, image, first row, rows) for each strip. Strips are dealt out in `threads`
// fixed parts, so that neither scratch nor sums depend on the threads OpenMP grants.
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

// Copies the input under grid rows [first_row, first_row + rows) with its border of zeros, as
// words: the kernels then see neither borders nor layouts.
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

// Calls work with the first channel and the number of vectors (a constant) of each block of two
// vectors of channels and, where one is left over, of that.
template <class Work>
void for_each_block(int channels, Work work) {
  for (int first = 0; first < channels; first += 2 * kLanes) {
    if (channels - first > kLanes) {
      work(first, std::integral_constant<int, 2>{});
    } else {
      work(first, std::integral_constant<int, 1>{});
    }
  }
}

// Fetches the memory of the next strip a bit at every tile: the hardware does not foresee it, as
// the copy that reads it comes in short bursts between long stretches of arithmetic.
template <class T>
class Prefetcher {
 public:
  Prefetcher(const T* at, ptrdiff_t count, ptrdiff_t tiles)
      : at_(reinterpret_cast<std::uintptr_t>(at)),
        end_(at_ + static_cast<std::uintptr_t>(count) * sizeof(T)),
        per_tile_((end_ - at_) / static_cast<std::uintptr_t>(tiles) + 1) {}

  void next_tile() {
    const std::uintptr_t stop = std::min(end_, at_ + per_tile_);
    for (; at_ < stop; at_ += 64) __builtin_prefetch(reinterpret_cast<const void*>(at_));
  }

 private:
  std::uintptr_t at_, end_, per_tile_;  // not pointers, as they may run past the tensor
};

std::size_t weight_gradient_scratch(const DirectConv& g, int threads);

}  // namespace direct_conv_detail
}  // namespace fulcrum::cpu
