// Direct convolution: strips, the forward pass and the gradient of the data.
#include <fulcrum/core/cpu/direct_conv.h>

namespace fulcrum::cpu {
namespace direct_conv_detail {

Strips::Strips(const Correlation& g, int threads) {
  constexpr int kPixels = 256;
  const ptrdiff_t fair = ptrdiff_t{g.n} * g.grid_h / threads;
  const int most = std::min(g.grid_h, kPixels / g.grid_w);
  rows = static_cast<int>(std::max<ptrdiff_t>(1, std::min<ptrdiff_t>(most, fair)));
  per_image = (g.grid_h + rows - 1) / rows;
  count = ptrdiff_t{g.n} * per_image;
  floats = padded(g.strip_rows(rows) * g.strip_pitch());
}

Correlation forward_correlation(const DirectConv& g) {
  Correlation c{};
  c.n = g.n, c.in_h = g.h, c.in_w = g.w, c.in_c = g.c_in;
  c.grid_h = g.out_h, c.grid_w = g.out_w, c.out_c = g.c_out;
  c.taps_h = g.kernel_h, c.taps_w = g.kernel_w, c.step = g.stride;
  c.pad_top = g.padding, c.pad_left = g.padding;
  c.out_h = g.out_h, c.out_w = g.out_w, c.out_step = 1;
  return c;
}

}  // namespace direct_conv_detail

namespace {

using namespace direct_conv_detail;

// The micro-kernel: kTile pixels x kVectors vectors of channels, summed over all taps and input
// channels. w is [taps_h, run, kVectors * kLanes]. Not inlined, so that the pointers do not compete
// with the caller's variables for registers.
template <int kVectors, class Word>
[[gnu::noinline]] void correlate_tile(Vec (&out)[kTile][kVectors], const Word* const (&pixels)[kTile], const Word* w,
                                      const Correlation& g) {
  Vec acc[kTile][kVectors] = {};
  const ptrdiff_t run = g.run(), pitch = g.strip_pitch();
  for (int a = 0; a < g.taps_h; ++a) {
    const Word* p[kTile];
#pragma GCC unroll 16
    for (int i = 0; i < kTile; ++i) p[i] = pixels[i] + a * pitch;
    for (ptrdiff_t k = 0; k < run; ++k, w += kVectors * kLanes) {
      Vec weights[kVectors];
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) weights[v] = load(w + v * kLanes);
#pragma GCC unroll 16
      for (int i = 0; i < kTile; ++i) {
#pragma GCC unroll 16
        for (int v = 0; v < kVectors; ++v) acc[i][v] = add_product(acc[i][v], weights[v], p[i][k]);
      }
    }
  }
  std::memcpy(&out, &acc, sizeof acc);
}

// All pixels of a strip, for the `channels` output channels of w. Tiles continue across the ends of
// rows. The last tile is filled up by repeating its last pixel, which saves a kernel for partial tiles.
template <int kVectors, class T, class Word, class In>
void correlate_strip(T* out, const Word* strip, const Word* w, const Correlation& g, int rows, int channels,
                     Prefetcher<In>& prefetcher) {
  const ptrdiff_t next_row = g.step * (g.strip_pitch() - ptrdiff_t{g.grid_w} * g.in_c);
  const ptrdiff_t out_next = ptrdiff_t{g.out_step} * g.out_c;
  const ptrdiff_t out_next_row = out_next * (g.out_w - g.grid_w);
  int col = 0;
  for (int left = rows * g.grid_w; left > 0; left -= kTile) {
    const Word* pixels[kTile];
    T* to[kTile];
    for (int i = 0; i < kTile; ++i) {
      pixels[i] = strip;
      to[i] = out;
      if (i + 1 >= left) continue;
      strip += g.step * g.in_c;
      out += out_next;
      if (++col == g.grid_w) {
        col = 0;
        strip += next_row;
        out += out_next_row;
      }
    }
    prefetcher.step();
    Vec acc[kTile][kVectors];
    correlate_tile<kVectors>(acc, pixels, w, g);
    for (int i = 0; i < std::min(kTile, left); ++i) {
      for (int v = 0; v < kVectors; ++v) {
        store_lanes(to[i] + v * kLanes, acc[i][v], channels - v * kLanes);
      }
    }
  }
}

ptrdiff_t packed_size(const Correlation& g) { return padded(round_up(g.out_c, kLanes) * g.depth()); }

// Packs weight `at` of one input channel, or of two as a pair of bf16.
void pack(float& to, const float* const* from, ptrdiff_t at) { to = from[0][at]; }
[[maybe_unused]] void pack(Pair& to, const float* const* from, ptrdiff_t at) {
  to.bits = round_bf16(from[0][at]) | round_bf16(from[1][at]) << 16;
}

// w_at(a, b, i) points to the weight of tap (a, b) from input channel i to output channel 0;
// those of the other output channels follow at `stride`. g counts words, not channels.
template <class Word, class At>
void pack_weights(Word* packed, const Correlation& g, int threads, ptrdiff_t stride, At w_at) {
  constexpr int kChannels = std::is_same_v<Word, Pair> ? 2 : 1;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int k = 0; k < g.depth(); ++k) {
    const int a = k / g.run(), b = k % g.run() / g.in_c, i = k % g.in_c * kChannels;
    const float* const from[] = {w_at(a, b, i), w_at(a, b, i + kChannels - 1)};
    for_each_block(g.out_c, [&](int first, auto vectors) {
      constexpr int kWidth = vectors * kLanes;
      Word* to = packed + ptrdiff_t{first} * g.depth() + ptrdiff_t{k} * kWidth;
      const int count = std::min(kWidth, g.out_c - first);
      for (int o = 0; o < count; ++o) pack(to[o], from, (first + o) * stride);
      std::fill(to + count, to + kWidth, Word{});
    });
  }
}

template <class T, class In>
void correlate_words(T* out, const In* in, typename OneImage<In>::Word* scratch, const Correlation& g, int threads) {
  const auto* packed = scratch;
  const ptrdiff_t strip_size = Strips(g, threads).floats;
  for_each_strip(g, threads, [&](int part, ptrdiff_t image, int first_row, int rows) {
    auto* strip = scratch + packed_size(g) + part * strip_size;
    const In* pixels = in + image * g.in_h * g.in_w * g.in_c;
    fill_strip(strip, OneImage<In>{pixels}, g, first_row, rows);
    const ptrdiff_t in_end = std::clamp(first_row * g.step + g.strip_rows(rows) - g.pad_top, 0, g.in_h);
    const ptrdiff_t tiles = (rows * g.grid_w + kTile - 1) / kTile * round_up(g.out_c, 2 * kLanes) / (2 * kLanes);
    Prefetcher<In> prefetcher(pixels + in_end * g.in_w * g.in_c, ptrdiff_t{rows} * g.step * g.in_w * g.in_c, tiles);
    T* to = out + ((image * g.out_h + first_row * g.out_step + g.out_row) * g.out_w + g.out_col) * g.out_c;
    for_each_block(g.out_c, [&](int first, auto vectors) {
      correlate_strip<vectors>(to + first, strip, packed + ptrdiff_t{first} * g.depth(), g, rows, g.out_c - first,
                               prefetcher);
    });
  });
}

// w_at and stride as for pack_weights. bf16 is multiplied in pairs of channels where possible.
template <class T, class At>
void correlate(T* out, const T* in, float* scratch, Correlation g, int threads, ptrdiff_t stride, At w_at) {
  if constexpr (kMultipliesBf16 && std::is_same_v<T, std::uint16_t>) {
    if (bf16_pairs_pay() && g.in_c % 2 == 0) {
      g.in_c /= 2;
      auto* words = reinterpret_cast<Pair*>(scratch);
      pack_weights(words, g, threads, stride, w_at);
      return correlate_words(out, reinterpret_cast<const Pair*>(in), words, g, threads);
    }
  }
  pack_weights(scratch, g, threads, stride, w_at);
  correlate_words(out, in, scratch, g, threads);
}

// The gradient of the data: dx[iy] is the sum of dy[oy] * w[ky] over iy + padding = oy * stride + ky.
// For rows iy = stride * r + phase, only every stride-th ky occurs, and the j-th of these goes with
// oy = r + shift - j. So each pair of phases is a correlation of dy with reversed taps and step 1.
struct Phase {
  int first_tap, taps, pad;

  Phase(int phase, int kernel, const DirectConv& g)
      : first_tap((phase + g.padding) % g.stride),
        taps((kernel - first_tap + g.stride - 1) / g.stride),
        pad(taps - 1 - (phase + g.padding) / g.stride) {}

  int tap(int a, int stride) const { return first_tap + (taps - 1 - a) * stride; }
};

Correlation phase_correlation(const DirectConv& g, int row, int col) {
  const Phase rows(row, g.kernel_h, g), cols(col, g.kernel_w, g);
  Correlation c{};
  c.n = g.n, c.in_h = g.out_h, c.in_w = g.out_w, c.in_c = g.c_out;
  c.grid_h = (g.h - row + g.stride - 1) / g.stride;
  c.grid_w = (g.w - col + g.stride - 1) / g.stride;
  c.out_c = g.c_in;
  c.taps_h = rows.taps, c.taps_w = cols.taps, c.step = 1;
  c.pad_top = rows.pad, c.pad_left = cols.pad;
  c.out_h = g.h, c.out_w = g.w, c.out_step = g.stride;
  c.out_row = row, c.out_col = col;
  return c;
}

}  // namespace

template <class T>
void direct_conv_forward(T* y, const T* x, const float* w, float* scratch, const DirectConv& g, int threads) {
  const Correlation c = forward_correlation(g);
  correlate(y, x, scratch, c, threads, c.depth(),
            [&](int a, int b, int i) { return w + (ptrdiff_t{a} * g.kernel_w + b) * g.c_in + i; });
}

template <class T>
void direct_conv_backward_data(T* dx, const T* dy, const float* w, float* scratch, const DirectConv& g, int threads) {
  for (int row = 0; row < std::min(g.stride, g.h); ++row) {
    for (int col = 0; col < std::min(g.stride, g.w); ++col) {
      const Correlation c = phase_correlation(g, row, col);
      const Phase rows(row, g.kernel_h, g), cols(col, g.kernel_w, g);
      correlate(dx, dy, scratch, c, threads, 1, [&](int a, int b, int i) {
        const int ky = rows.tap(a, g.stride), kx = cols.tap(b, g.stride);
        return w + ((ptrdiff_t{i} * g.kernel_h + ky) * g.kernel_w + kx) * g.c_in;
      });
    }
  }
}

template void direct_conv_forward(float*, const float*, const float*, float*, const DirectConv&, int);
template void direct_conv_forward(std::uint16_t*, const std::uint16_t*, const float*, float*, const DirectConv&, int);
template void direct_conv_backward_data(float*, const float*, const float*, float*, const DirectConv&, int);
template void direct_conv_backward_data(std::uint16_t*, const std::uint16_t*, const float*, float*, const DirectConv&,
                                        int);

bool direct_conv_supported(const DirectConv& g, ConvPass pass) {
  const auto fits = [&](int in, int out, int kernel) {
    return in > 0 && out > 0 && kernel > 0 && in + 2 * g.padding >= kernel &&
           out == (in + 2 * g.padding - kernel) / g.stride + 1;
  };
  const int vector_channels = pass == ConvPass::kBackwardData ? g.c_in : g.c_out;
  return g.n > 0 && g.c_in > 0 && g.c_out > 0 && vector_channels % 8 == 0 && g.stride > 0 && g.padding >= 0 &&
         fits(g.h, g.out_h, g.kernel_h) && fits(g.w, g.out_w, g.kernel_w);
}

std::size_t direct_conv_scratch(const DirectConv& g, ConvPass pass, int threads) {
  const auto size = [&](const Correlation& c) {
    return static_cast<std::size_t>(packed_size(c) + threads * Strips(c, threads).floats);
  };
  if (pass == ConvPass::kForward) return size(forward_correlation(g));
  if (pass == ConvPass::kBackwardWeights) return weight_gradient_scratch(g, threads);
  std::size_t most = 0;
  for (int row = 0; row < std::min(g.stride, g.h); ++row) {
    for (int col = 0; col < std::min(g.stride, g.w); ++col) {
      most = std::max(most, size(phase_correlation(g, row, col)));
    }
  }
  return most;
}

}  // namespace fulcrum::cpu
