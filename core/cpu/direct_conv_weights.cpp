// Direct convolution: the gradient of the weights, which sums over all pixels the products of dy at a
// pixel with the input under it. Each part of the strips has its own sums in scratch,
// [taps_h, padded run, channels] per block of channels; they are added up in a fixed order at the end.
#include <fulcrum/core/cpu/direct_conv.h>

namespace fulcrum::cpu {
namespace {

using namespace direct_conv_detail;

ptrdiff_t padded_run(const Correlation& g) { return round_up(g.run(), kTile); }

// The scratch of one part, in floats: sums, strip and dy, one after the other.
struct PartSize {
  ptrdiff_t sums, strip, dy;

  PartSize(const Correlation& g, int threads) {
    const Strips strips(g, threads);
    const ptrdiff_t channels = round_up(g.out_c, kLanes);
    sums = padded(channels * g.taps_h * padded_run(g));
    strip = padded(strips.floats + kTile);  // the last tile of a run reads beyond it
    dy = padded(ptrdiff_t{strips.rows} * g.grid_w * 2 * kLanes);
  }
  ptrdiff_t total() const { return sums + strip + dy; }
};

// The micro-kernel: kTile consecutive floats of a run x kVectors vectors of channels, summed over
// the pixels of a strip.
template <int kVectors, class Word>
void sum_products(float* sums, const Word* x, const Word* dy, const Correlation& g, int rows) {
  Vec acc[kTile][kVectors] = {};
  for (int row = 0; row < rows; ++row) {
    const Word* p = x + row * g.step * g.strip_pitch();
    for (int col = 0; col < g.grid_w; ++col, p += g.step * g.in_c, dy += kVectors * kLanes) {
      Vec d[kVectors];
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) d[v] = load(dy + v * kLanes);
#pragma GCC unroll 16
      for (int i = 0; i < kTile; ++i) {
#pragma GCC unroll 16
        for (int v = 0; v < kVectors; ++v) acc[i][v] = add_product(acc[i][v], d[v], p[i]);
      }
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kTile; ++i) {
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v, sums += kLanes) store(sums, load(sums) + acc[i][v]);
  }
}

// Adds a strip's contribution for one block of channels. Copies that block of dy first: every tile
// reads it, and in place it is scattered over as many cache lines as there are pixels.
template <int kVectors, class Source, class Word, class T = typename Source::Element>
void add_strip(float* sums, const Word* strip, Word* dy_block, const Source& dy, ptrdiff_t dy_at, const Correlation& g,
               int rows, int channels, Prefetcher<T>& next_x, Prefetcher<T>& next_dy) {
  constexpr int kWidth = kVectors * kLanes;
  Word* to = dy_block;
  for (ptrdiff_t i = 0; i < ptrdiff_t{rows} * g.grid_w; ++i, dy_at += g.out_c, to += kWidth) {
    if (channels >= kWidth) {
      dy.words(to, dy_at, kWidth);
    } else {
      dy.words(to, dy_at, channels);
      std::fill(to + channels, to + kWidth, Word{});
    }
  }
  for (int a = 0; a < g.taps_h; ++a) {
    for (ptrdiff_t k = 0; k < g.run(); k += kTile) {
      next_x.step();
      next_dy.step();
      sum_products<kVectors>(sums + (a * padded_run(g) + k) * kWidth, strip + a * g.strip_pitch() + k, dy_block, g,
                             rows);
    }
  }
}

// Adds up the parts in their order and unpacks [tap row, run, channel] to [channel, ...].
void reduce_sums(float* dw, const float* scratch, ptrdiff_t part_size, const Correlation& g, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int k = 0; k < g.depth(); ++k) {
    const ptrdiff_t at = k / g.run() * padded_run(g) + k % g.run();
    for_each_block(g.out_c, [&](int first, auto vectors) {
      constexpr int kWidth = vectors * kLanes;
      const float* from = scratch + first * g.taps_h * padded_run(g) + at * kWidth;
      for (int v = 0; v < vectors; ++v, from += kLanes) {
        Vec sum = load(from);
        for (int part = 1; part < threads; ++part) sum += load(from + part * part_size);
        const ptrdiff_t channel = first + v * kLanes;
        const ptrdiff_t lanes = std::min<ptrdiff_t>(kLanes, g.out_c - channel);
        for (ptrdiff_t o = 0; o < lanes; ++o) dw[(channel + o) * g.depth() + k] = sum[o];
      }
    });
  }
}

}  // namespace

std::size_t direct_conv_detail::weight_gradient_scratch(const DirectConv& g, int threads) {
  return static_cast<std::size_t>(threads * PartSize(forward_correlation(g), threads).total());
}

namespace {

// source(tensor, elements of an image, n) returns the n-th source of words of a tensor.
template <class T, class SourceOf>
void sum_strips(float* dw, const T* x, const T* dy, float* scratch, const Correlation& c, int threads,
                SourceOf source) {
  using Word = typename decltype(source(x, ptrdiff_t{}, ptrdiff_t{}))::Word;
  const PartSize size(c, threads);
#pragma omp parallel for schedule(static, 1) num_threads(threads)
  for (int part = 0; part < threads; ++part) {
    std::fill_n(scratch + part * size.total(), size.sums + size.strip, 0.0f);
  }
  const ptrdiff_t x_size = ptrdiff_t{c.in_h} * c.in_w * c.in_c;
  const ptrdiff_t dy_size = ptrdiff_t{c.grid_h} * c.grid_w * c.out_c;
  for_each_strip(c, threads, [&](int part, ptrdiff_t n, int first_row, int rows) {
    float* sums = scratch + part * size.total();
    Word* strip = reinterpret_cast<Word*>(sums + size.sums);
    const auto x_n = source(x, x_size, n), dy_n = source(dy, dy_size, n);
    fill_strip(strip, x_n, c, first_row, rows);
    const ptrdiff_t dy_at = ptrdiff_t{first_row} * c.grid_w * c.out_c;
    const ptrdiff_t x_end = std::clamp(first_row * c.step + c.strip_rows(rows) - c.pad_top, 0, c.in_h);
    const ptrdiff_t dy_count = ptrdiff_t{rows} * c.grid_w * c.out_c;
    const ptrdiff_t tiles = round_up(c.out_c, 2 * kLanes) / (2 * kLanes) * c.taps_h * padded_run(c) / kTile;
    Prefetcher<T> next_x(x_n.first + x_end * c.in_w * c.in_c, ptrdiff_t{rows} * c.step * c.in_w * c.in_c, tiles);
    Prefetcher<T> next_dy(dy_n.first + dy_at + dy_count, dy_count, tiles);
    for_each_block(c.out_c, [&](int first, auto vectors) {
      add_strip<vectors>(sums + first * c.taps_h * padded_run(c), strip, strip + size.strip, dy_n, dy_at + first, c,
                         rows, c.out_c - first, next_x, next_dy);
    });
  });
  reduce_sums(dw, scratch, size.total(), c, threads);
}

}  // namespace

template <class T>
void direct_conv_backward_weights(float* dw, const T* x, const T* dy, float* scratch, const DirectConv& g,
                                  int threads) {
  Correlation c = forward_correlation(g);
  if constexpr (kMultipliesBf16 && std::is_same_v<T, std::uint16_t>) {
    if (bf16_pairs_pay()) {
      c.n = (g.n + 1) / 2;
      sum_strips(dw, x, dy, scratch, c, threads, [&](const T* all, ptrdiff_t size, ptrdiff_t n) {
        const T* first = all + 2 * n * size;
        return TwoImages{first, 2 * n + 1 < g.n ? first + size : nullptr};
      });
      return;
    }
  }
  sum_strips(dw, x, dy, scratch, c, threads,
             [](const T* all, ptrdiff_t size, ptrdiff_t n) { return OneImage<T>{all + n * size}; });
}

template void direct_conv_backward_weights(float*, const float*, const float*, float*, const DirectConv&, int);
template void direct_conv_backward_weights(float*, const std::uint16_t*, const std::uint16_t*, float*,
                                           const DirectConv&, int);

}  // namespace fulcrum::cpu
