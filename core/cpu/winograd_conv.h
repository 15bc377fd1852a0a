// 3×3 convolution with stride 1 by Winograd's minimal filtering, which needs a quarter of the multiplications
// of the direct method: the three passes of a layer, on NHWC activations, without im2col.
//
//   if (winograd_conv_supported(g, ConvPass::kForward)) {
//     float* scratch = ...;  // winograd_conv_scratch(g, ConvPass::kForward, threads) floats
//     winograd_conv_forward(y, x, w, scratch, g, threads);
//   }
//
// Layouts, types and the meaning of `threads` are those of direct_conv.h. Activations in bf16 are
// widened: all arithmetic is in f32.
//
// The method (A. Lavin, S. Gray, "Fast algorithms for convolutional neural networks", CVPR 2016,
// arXiv 1509.09308). Four outputs of a 1-D filter g of three taps over six inputs d are
//   y = Aᵀ[(G g) ⊙ (Bᵀ d)],
// which multiplies two polynomials by their values at five points and infinity. Nested, a tile of 4×4
// outputs is Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A: 36 products instead of 144. Summed over the input channels
// these become 36 matrix products [tiles, c_in]·[c_in, c_out]. The gradient of the data is the same
// convolution of dy with the weights rotated by 180°. The gradient of the weights is the adjoint,
//   dg = Gᵀ[(A dy Aᵀ) ⊙ (Bᵀ d B)]G.
//
// The points are 0, ±√½, ±√2, ∞. Products of their powers stay near 1, which halves the rounding errors of
// the usual points 0, ±1, ±2, ∞ (measured; winograd_conv_test.cpp bounds them).
#pragma once

#include <fulcrum/core/cpu/direct_conv.h>
#include <fulcrum/core/cpu/prefetch.h>
#include <fulcrum/core/cpu/vectors.h>

namespace fulcrum::cpu {

// The number of rows and columns of a tile of outputs.
inline constexpr int kWinogradTile = 4;

// Rounds a number of channels up to whole vectors, as in blocks; the added channels are zero.
inline int winograd_channels(int channels) { return static_cast<int>(vectors::round_up(channels, vectors::kLanes)); }

// 3×3, stride 1, padding at most 2.
bool winograd_conv_supported(const DirectConv& g, ConvPass pass);

std::size_t winograd_conv_scratch(const DirectConv& g, ConvPass pass, int threads);

template <class T>
void winograd_conv_forward(T* y, const T* x, const float* w, float* scratch, const DirectConv& g, int threads);

// The same in two steps, for weights that serve several calls. u has winograd_conv_weights_size(g) floats;
// the scratch is the same.
std::size_t winograd_conv_weights_size(const DirectConv& g);
void winograd_conv_weights(float* u, const float* w, float* scratch, const DirectConv& g, int threads);
template <class T>
void winograd_conv_forward_with(T* y, const T* x, const float* u, float* scratch, const DirectConv& g, int threads);

template <class T>
void winograd_conv_backward_data(T* dx, const T* dy, const float* w, float* scratch, const DirectConv& g, int threads);

template <class T>
void winograd_conv_backward_weights(float* dw, const T* x, const T* dy, float* scratch, const DirectConv& g,
                                    int threads);

// Implementation details shared by the passes.
namespace winograd_detail {

using namespace vectors;

inline constexpr int kIn = 6, kOut = kWinogradTile, kPoints = kIn * kIn, kTaps = 9;

// ---- one dimension ------------------------------------------------------------------------------
// With a = √½ and b = √2: a² = ½, b² = 2, a²b² = 1, a² + b² = 5/2.

inline constexpr float kA = 0.70710678118654752f, kB = 1.41421356237309505f;

// Bᵀ d. Row p of Bᵀ holds the coefficients of x(x²−a²)(x²−b²) / (x−p).
inline void transform_input(const Vec (&d)[kIn], Vec (&t)[kIn]) {
  const Vec even_a = d[4] - 2.0f * d[2], odd_a = d[3] - 2.0f * d[1];
  const Vec even_b = d[4] - 0.5f * d[2], odd_b = d[3] - 0.5f * d[1];
  t[0] = d[0] - 2.5f * d[2] + d[4];
  t[1] = even_a + kA * odd_a;
  t[2] = even_a - kA * odd_a;
  t[3] = even_b + kB * odd_b;
  t[4] = even_b - kB * odd_b;
  t[5] = d[1] - 2.5f * d[3] + d[5];
}

// Aᵀ m: column p of Aᵀ is 1, p, p², p³; that of infinity 0, 0, 0, 1.
inline void transform_output(const Vec (&m)[kIn], Vec (&y)[kOut]) {
  const Vec sum_a = m[1] + m[2], sum_b = m[3] + m[4];
  const Vec difference_a = kA * (m[1] - m[2]), difference_b = kB * (m[3] - m[4]);
  y[0] = m[0] + sum_a + sum_b;
  y[1] = difference_a + difference_b;
  y[2] = 0.5f * sum_a + 2.0f * sum_b;
  y[3] = 0.5f * difference_a + 2.0f * difference_b + m[5];
}

// A dy.
inline void transform_gradient(const Vec (&dy)[kOut], Vec (&t)[kIn]) {
  const Vec even_a = dy[0] + 0.5f * dy[2], odd_a = kA * (dy[1] + 0.5f * dy[3]);
  const Vec even_b = dy[0] + 2.0f * dy[2], odd_b = kB * (dy[1] + 2.0f * dy[3]);
  t[0] = dy[0];
  t[1] = even_a + odd_a;
  t[2] = even_a - odd_a;
  t[3] = even_b + odd_b;
  t[4] = even_b - odd_b;
  t[5] = dy[3];
}

// G g: row p of G is (1, p, p²) / Π(p − q) over the other points q; that of infinity 0, 0, 1.
inline void transform_weights_1d(const Vec (&g)[3], Vec (&t)[kIn]) {
  constexpr float kOverA = -1 / 1.5f, kOverB = 1 / 6.0f;
  const Vec even_a = kOverA * (g[0] + 0.5f * g[2]), odd_a = kOverA * kA * g[1];
  const Vec even_b = kOverB * (g[0] + 2.0f * g[2]), odd_b = kOverB * kB * g[1];
  t[0] = g[0];
  t[1] = even_a + odd_a;
  t[2] = even_a - odd_a;
  t[3] = even_b + odd_b;
  t[4] = even_b - odd_b;
  t[5] = g[2];
}

// Gᵀ m.
inline void transform_weight_gradient(const Vec (&m)[kIn], Vec (&dg)[3]) {
  constexpr float kOverA = -1 / 1.5f, kOverB = 1 / 6.0f;
  const Vec sum_a = kOverA * (m[1] + m[2]), sum_b = kOverB * (m[3] + m[4]);
  dg[0] = m[0] + sum_a + sum_b;
  dg[1] = kOverA * kA * (m[1] - m[2]) + kOverB * kB * (m[3] - m[4]);
  dg[2] = 0.5f * sum_a + 2.0f * sum_b + m[5];
}

// ---- two dimensions -----------------------------------------------------------------------------

// Applies transform(kFrom vectors, kTo vectors) down the columns, which column(j, vectors) loads, then along
// the resulting rows, and passes these to store_row(i, vectors).
template <int kFrom, int kTo, class Column, class Transform, class StoreRow>
[[gnu::always_inline]] inline void transform_tile(Column column, Transform transform, StoreRow store_row) {
  Vec half[kTo][kFrom];
#pragma GCC unroll 1
  for (int j = 0; j < kFrom; ++j) {
    Vec from[kFrom], to[kTo];
    column(j, from);
    transform(from, to);
#pragma GCC unroll 6
    for (int i = 0; i < kTo; ++i) half[i][j] = to[i];
  }
#pragma GCC unroll 1
  for (int i = 0; i < kTo; ++i) {
    Vec to[kTo];
    transform(half[i], to);
    store_row(i, to);
  }
}

// ---- tiles --------------------------------------------------------------------------------------

// The outputs of all images, cut into 4×4 tiles. They are processed in blocks of consecutive tiles, whose
// transforms stay in the L2 cache. Blocks are divided into `threads` fixed parts, so that neither scratch
// nor sums depend on how many threads OpenMP supplies.
struct Tiles {
  static constexpr int kBlock = 24;  // a multiple of the rows of every register tile
  int rows, cols;                    // tiles of an image
  ptrdiff_t count, blocks;

  struct Place {
    ptrdiff_t image;
    int row, col;  // of the tile's first output
  };

  explicit Tiles(const DirectConv& g)
      : rows((g.out_h + kOut - 1) / kOut),
        cols((g.out_w + kOut - 1) / kOut),
        count(ptrdiff_t{g.n} * rows * cols),
        blocks((count + kBlock - 1) / kBlock) {}

  Place place(ptrdiff_t tile) const {
    const ptrdiff_t per_image = ptrdiff_t{rows} * cols;
    const int at = static_cast<int>(tile % per_image);
    return {tile / per_image, at / cols * kOut, at % cols * kOut};
  }

  // Prefetches the pixels of [n, h, w, c] below `some` tiles from `first` on, in kPoints steps.
  template <PrefetchFor kFor = PrefetchFor::kRead, class T>
  Prefetcher<T, kFor> prefetcher(const T* all, int h, ptrdiff_t row_size, ptrdiff_t first, ptrdiff_t some) const {
    if (first >= count) return {all, 0, kPoints};
    const Place from = place(first), last = place(std::min(first + some, count) - 1);
    const ptrdiff_t begin = from.image * h + std::min(from.row, h);
    const ptrdiff_t end = last.image * h + std::min(last.row + kOut, h);
    return {all + begin * row_size, (end - begin) * row_size, kPoints};
  }
};

// Calls work(part, first tile, number of tiles) for each block.
template <class Work>
void for_each_block_of(const Tiles& tiles, int threads, Work work) {
#pragma omp parallel for schedule(static, 1) num_threads(threads)
  for (int part = 0; part < threads; ++part) {
    const ptrdiff_t end = tiles.blocks * (part + 1) / threads;
    for (ptrdiff_t b = tiles.blocks * part / threads; b < end; ++b) {
      const ptrdiff_t first = b * Tiles::kBlock;
      work(part, first, std::min<ptrdiff_t>(Tiles::kBlock, tiles.count - first));
    }
  }
}

// The geometry with channels rounded up to whole vectors, as in blocks and transformed weights.
inline DirectConv in_blocks(DirectConv g) {
  g.c_in = winograd_channels(g.c_in);
  g.c_out = winograd_channels(g.c_out);
  return g;
}

// The size of a block's values at one point, [block of kLanes channels, tile, channel], with channels as
// given by in_blocks. The extra kLanes put consecutive points an odd number of vectors apart: otherwise
// the points of a tile would fall into a few sets of the L1 cache.
inline ptrdiff_t point_size(int channels) { return ptrdiff_t{Tiles::kBlock} * channels + kLanes; }

inline ptrdiff_t block_size(int channels) { return padded(kPoints * point_size(winograd_channels(channels))); }

// The size of transformed weights and of their gradient, [point, block of channels, c_in, channel of the
// block], with channels as given by in_blocks.
inline ptrdiff_t weights_size(const DirectConv& g) {
  return padded(ptrdiff_t{kPoints} * winograd_channels(g.c_in) * winograd_channels(g.c_out));
}

// Calls work(first channel, offset of input channel i within a point) for each vector of c_out.
template <class Work>
void for_each_channel_vector(const DirectConv& blocks, int i, Work work) {
  for_each_block(blocks.c_out, [&](int first, auto vectors) {
    for (int v = 0; v < vectors; ++v)
      work(first + v * kLanes, ptrdiff_t{first} * blocks.c_in + (ptrdiff_t{i} * vectors + v) * kLanes);
  });
}

// Reads the kSize×kSize pixels at (row, col) of an image [h, w, c], zero outside it, one vector of channels
// at a time, column by column.
template <int kSize, class T>
class Window {
 public:
  Window(const T* image, int h, int w, int c, int row, int col) : w_(w), col_(col) {
    for (int i = 0; i < kSize; ++i) {
      const bool inside = row + i >= 0 && row + i < h;
      row_[i] = inside ? image + ptrdiff_t{row + i} * w * c : kZeros;
      pixel_[i] = inside ? c : 0;
      channel_[i] = inside ? 1 : 0;
    }
  }

  void column(int j, int channel, int lanes, Vec (&to)[kSize]) const {
    const int col = col_ + j;
    if (col < 0 || col >= w_) {
      for (Vec& v : to) v = Vec{};
      return;
    }
#pragma GCC unroll 6
    for (int i = 0; i < kSize; ++i) to[i] = load_lanes(row_[i] + col * pixel_[i] + channel * channel_[i], lanes);
  }

 private:
  static constexpr T kZeros[kLanes] = {};
  const T* row_[kSize];
  ptrdiff_t pixel_[kSize], channel_[kSize];  // stride per pixel and per channel; 0 outside the image
  int w_, col_;
};

// Calls work(full), where `full` tells whether all vectors of these channels are full. It is a constant
// (std::bool_constant): testing it in the innermost loops takes 7 % of the time with 16 channels.
template <class Work>
void with_fullness(int channels, Work work) {
  if (channels % kLanes == 0) {
    work(std::true_type{});
  } else {
    work(std::false_type{});
  }
}

// Transforms a block's tiles of pixels [n, h, w, c], which start `shift` above and left of their outputs.
template <int kSize, auto kTransform, bool kFull, class T>
void transform_block(float* to, const T* pixels, int h, int w, int c, int shift, const Tiles& tiles, ptrdiff_t first,
                     ptrdiff_t count) {
  const ptrdiff_t point = point_size(winograd_channels(c));
  for (ptrdiff_t t = 0; t < count; ++t) {
    const Tiles::Place at = tiles.place(first + t);
    const Window<kSize, T> window(pixels + at.image * h * w * c, h, w, c, at.row - shift, at.col - shift);
    for (int channel = 0; channel < c; channel += kLanes) {
      const int lanes = kFull ? kLanes : c - channel;
      float* tile = to + channel * Tiles::kBlock + t * kLanes;
      transform_tile<kSize, kIn>([&](int j, Vec(&column)[kSize]) { window.column(j, channel, lanes, column); },
                                 kTransform,
                                 [&](int i, const Vec(&row)[kIn]) {
                                   for (int j = 0; j < kIn; ++j) store(tile + (i * kIn + j) * point, row[j]);
                                 });
    }
  }
}

// Bᵀ d B of the input under a block of outputs.
template <class T>
void transform_inputs(float* to, const T* x, const DirectConv& g, const Tiles& tiles, ptrdiff_t first,
                      ptrdiff_t count) {
  with_fullness(g.c_in, [&](auto full) {
    transform_block<kIn, transform_input, full>(to, x, g.h, g.w, g.c_in, g.padding, tiles, first, count);
  });
}

std::size_t weight_gradient_scratch(const DirectConv& g, int threads);

}  // namespace winograd_detail
}  // namespace fulcrum::cpu
