// Winograd convolution: the gradient of the weights. Each part of the blocks has its own sums at the points, in
// the layout of transformed weights; they are added up in a fixed order at the end.
#include <fulcrum/core/cpu/winograd_conv.h>

namespace fulcrum::cpu {
namespace {

using namespace winograd_detail;

// The scratch of one part, in floats: sums, x and dy, one after the other.
struct PartSize {
  ptrdiff_t sums, x, dy;

  explicit PartSize(const DirectConv& g) : sums(weights_size(g)), x(block_size(g.c_in)), dy(block_size(g.c_out)) {}
  ptrdiff_t total() const { return sums + x + dy; }
};

template <int kVectors>
inline constexpr int kRows = std::max(4, kLanes / kVectors);

// The micro-kernel: kRows input channels x kVectors vectors of channels of dy at one point, summed
// over the tiles of a block.
template <int kVectors>
[[gnu::noinline]] void add_products(float* sums, const float* x, const float* dy, ptrdiff_t tiles) {
  constexpr int kR = kRows<kVectors>;
  constexpr ptrdiff_t kNextBlock = ptrdiff_t{Tiles::kBlock} * kLanes;
  Vec acc[kR][kVectors] = {};  // summing a block by itself before adding it reduces rounding errors
  for (ptrdiff_t t = 0; t < tiles; ++t, x += kLanes, dy += kLanes) {
    Vec d[kVectors];
#pragma GCC unroll 16
    for (int j = 0; j < kVectors; ++j) d[j] = load(dy + j * kNextBlock);
#pragma GCC unroll 16
    for (int i = 0; i < kR; ++i) {
#pragma GCC unroll 16
      for (int j = 0; j < kVectors; ++j) acc[i][j] += d[j] * x[i];
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kR; ++i) {
#pragma GCC unroll 16
    for (int j = 0; j < kVectors; ++j, sums += kLanes) store(sums, load(sums) + acc[i][j]);
  }
}

template <class NextX, class NextDy>
void add_block(float* sums, const float* x, const float* dy, const DirectConv& blocks, ptrdiff_t tiles, NextX next_x,
               NextDy next_dy) {
  for (int point = 0; point < kPoints; ++point) {
    next_x.step();
    next_dy.step();
    for_each_block(blocks.c_out, [&](int first, auto vectors) {
      float* to = sums + (ptrdiff_t{point} * blocks.c_out + first) * blocks.c_in;
      const float* from = dy + point * point_size(blocks.c_out) + first * Tiles::kBlock;
      for (int i = 0; i < blocks.c_in; i += kRows<vectors>) {
        add_products<vectors>(to + i * vectors * kLanes,
                              x + point * point_size(blocks.c_in) + i / kLanes * kLanes * Tiles::kBlock + i % kLanes,
                              from, tiles);
      }
    });
  }
}

// dw = Gᵀ s G, where s is the sum over all parts.
void reduce_sums(float* dw, const float* scratch, const DirectConv& g, int threads) {
  const DirectConv blocks = in_blocks(g);
  const ptrdiff_t point = ptrdiff_t{blocks.c_in} * blocks.c_out, next_part = PartSize(g).total();
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int i = 0; i < g.c_in; ++i) {
    for_each_channel_vector(blocks, i, [&](int channel, ptrdiff_t at) {
      transform_tile<kIn, 3>(
          [&](int j, Vec(&column)[kIn]) {
            for (int a = 0; a < kIn; ++a) {
              const float* from = scratch + (a * kIn + j) * point + at;
              column[a] = load(from);
              for (int part = 1; part < threads; ++part) column[a] += load(from + part * next_part);
            }
          },
          transform_weight_gradient,
          [&](int a, const Vec(&taps)[3]) {
            for (int b = 0; b < 3; ++b) {
              float* to = dw + (ptrdiff_t{channel} * kTaps + a * 3 + b) * g.c_in + i;
              for (int o = 0; o < std::min(kLanes, g.c_out - channel); ++o)
                to[ptrdiff_t{o} * kTaps * g.c_in] = taps[b][o];
            }
          });
    });
  }
}

}  // namespace

std::size_t winograd_detail::weight_gradient_scratch(const DirectConv& g, int threads) {
  return static_cast<std::size_t>(threads * PartSize(g).total());
}

template <class T>
void winograd_conv_backward_weights(float* dw, const T* x, const T* dy, float* scratch, const DirectConv& g,
                                    int threads) {
  const PartSize size(g);
  const Tiles tiles(g);
  const DirectConv blocks = in_blocks(g);
#pragma omp parallel for schedule(static, 1) num_threads(threads)
  for (int part = 0; part < threads; ++part) std::fill_n(scratch + part * size.total(), size.sums, 0.0f);
  for_each_block_of(tiles, threads, [&](int part, ptrdiff_t first, ptrdiff_t count) {
    float* sums = scratch + part * size.total();
    float *x_block = sums + size.sums, *dy_block = x_block + size.x;
    transform_inputs(x_block, x, g, tiles, first, count);
    with_fullness(g.c_out, [&](auto full) {
      transform_block<kOut, transform_gradient, full>(dy_block, dy, g.out_h, g.out_w, g.c_out, 0, tiles, first, count);
    });
    add_block(sums, x_block, dy_block, blocks, count,
              tiles.prefetcher(x, g.h, ptrdiff_t{g.w} * g.c_in, first + count, count),
              tiles.prefetcher(dy, g.out_h, ptrdiff_t{g.out_w} * g.c_out, first + count, count));
  });
  reduce_sums(dw, scratch, g, threads);
}

template void winograd_conv_backward_weights(float*, const float*, const float*, float*, const DirectConv&, int);
template void winograd_conv_backward_weights(float*, const std::uint16_t*, const std::uint16_t*, float*,
                                             const DirectConv&, int);

}  // namespace fulcrum::cpu
