// Winograd convolution: the forward pass and the gradient of the data.
#include <fulcrum/core/cpu/winograd_conv.h>

namespace fulcrum::cpu {
namespace {

using namespace winograd_detail;

// ---- weights ------------------------------------------------------------------------------------

// The number of input channels whose taps are gathered together: a cache line of weights.
constexpr int kGathered = 16;

ptrdiff_t taps_size(const DirectConv& g) { return padded(ptrdiff_t{kGathered} * kTaps * winograd_channels(g.c_out)); }

// Gathers the weights of `count` input channels from `first` on as [tap, channel, c_out as given by in_blocks],
// zero where there are none, reading memory in order. w_at and stride as below.
template <class At>
void gather_taps(float* taps, const DirectConv& g, int first, int count, ptrdiff_t stride, At w_at) {
  const int pitch = winograd_channels(g.c_out);
  if (count < kGathered || pitch > g.c_out) std::fill_n(taps, taps_size(g), 0.0f);
  for (int tap = 0; tap < kTaps; ++tap, taps += kGathered * pitch) {
    const auto gather = [&](int i, int o) { taps[i * pitch + o] = w_at(tap / 3, tap % 3, first + i)[o * stride]; };
    if (stride == 1) {
      for (int i = 0; i < count; ++i)
        for (int o = 0; o < g.c_out; ++o) gather(i, o);
    } else {
      for (int o = 0; o < g.c_out; ++o)
        for (int i = 0; i < count; ++i) gather(i, o);
    }
  }
}

// G g Gᵀ. w_at(a, b, i) points to the weight of tap (a, b) from input channel i to output channel 0;
// those of the other output channels follow at `stride`.
template <class At>
void transform_weights(float* packed, float* scratch, const DirectConv& g, int threads, ptrdiff_t stride, At w_at) {
  const DirectConv blocks = in_blocks(g);
  const ptrdiff_t point = ptrdiff_t{blocks.c_in} * blocks.c_out, tap = ptrdiff_t{kGathered} * blocks.c_out;
  const int groups = (blocks.c_in + kGathered - 1) / kGathered;
#pragma omp parallel for schedule(static, 1) num_threads(threads)
  for (int part = 0; part < threads; ++part) {
    float* taps = scratch + part * taps_size(g);
    const int end = static_cast<int>(ptrdiff_t{groups} * (part + 1) / threads);
    for (int group = static_cast<int>(ptrdiff_t{groups} * part / threads); group < end; ++group) {
      const int first = group * kGathered;
      gather_taps(taps, g, first, std::min(kGathered, g.c_in - first), stride, w_at);
      for (int i = 0; i < std::min(kGathered, blocks.c_in - first); ++i) {
        for_each_channel_vector(blocks, first + i, [&](int channel, ptrdiff_t at) {
          const float* from = taps + i * blocks.c_out + channel;
          transform_tile<3, kIn>(
              [&](int j, Vec(&column)[3]) {
                for (int a = 0; a < 3; ++a) column[a] = load(from + (a * 3 + j) * tap);
              },
              transform_weights_1d,
              [&](int row, const Vec(&values)[kIn]) {
                for (int j = 0; j < kIn; ++j) store(packed + (row * kIn + j) * point + at, values[j]);
              });
        });
      }
    }
  }
}

// ---- products -----------------------------------------------------------------------------------

template <int kVectors>
inline constexpr int kRows = 2 * kTile / kVectors;

// The micro-kernel: kRows tiles x kVectors vectors of channels at one point, summed over the input
// channels. In m and v, consecutive vectors of channels are a block of tiles apart.
template <int kVectors>
[[gnu::noinline]] void multiply(float* m, const float* v, const float* u, int channels) {
  constexpr int kR = kRows<kVectors>;
  constexpr ptrdiff_t kNextBlock = ptrdiff_t{Tiles::kBlock} * kLanes;
  Vec acc[kR][kVectors] = {};
  for (int channel = 0; channel < channels; channel += kLanes, v += kNextBlock) {
#pragma GCC unroll 4
    for (int k = 0; k < kLanes; ++k, u += kVectors * kLanes) {
      Vec weights[kVectors];
#pragma GCC unroll 24
      for (int j = 0; j < kVectors; ++j) weights[j] = load(u + j * kLanes);
#pragma GCC unroll 24
      for (int i = 0; i < kR; ++i) {
#pragma GCC unroll 24
        for (int j = 0; j < kVectors; ++j) acc[i][j] += weights[j] * v[i * kLanes + k];
      }
    }
  }
#pragma GCC unroll 24
  for (int j = 0; j < kVectors; ++j) {
#pragma GCC unroll 24
    for (int i = 0; i < kR; ++i) store(m + j * kNextBlock + i * kLanes, acc[i][j]);
  }
}

template <class In, class Out>
void multiply_block(float* m, const float* v, const float* u, const DirectConv& blocks, ptrdiff_t count, In next_input,
                    Out outputs) {
  for (int point = 0; point < kPoints; ++point) {
    next_input.step();
    outputs.step();
    for_each_block(blocks.c_out, [&](int first, auto vectors) {
      const float* weights = u + (ptrdiff_t{point} * blocks.c_out + first) * blocks.c_in;
      for (ptrdiff_t t = 0; t < count; t += kRows<vectors>) {
        multiply<vectors>(m + point * point_size(blocks.c_out) + first * Tiles::kBlock + t * kLanes,
                          v + point * point_size(blocks.c_in) + t * kLanes, weights, blocks.c_in);
      }
    });
  }
}

// ---- outputs ------------------------------------------------------------------------------------

// Aᵀ m A, cut at the borders.
template <bool kFull, class T>
void transform_outputs(T* out, const float* m, const DirectConv& g, const Tiles& tiles, ptrdiff_t first,
                       ptrdiff_t count) {
  const ptrdiff_t point = point_size(winograd_channels(g.c_out));
  for (ptrdiff_t t = 0; t < count; ++t) {
    const Tiles::Place at = tiles.place(first + t);
    const int rows = std::min(kOut, g.out_h - at.row), cols = std::min(kOut, g.out_w - at.col);
    T* to = out + ((at.image * g.out_h + at.row) * g.out_w + at.col) * g.c_out;
    for (int channel = 0; channel < g.c_out; channel += kLanes) {
      const int lanes = kFull ? kLanes : g.c_out - channel;
      const float* tile = m + channel * Tiles::kBlock + t * kLanes;
      transform_tile<kIn, kOut>(
          [&](int j, Vec(&column)[kIn]) {
            for (int i = 0; i < kIn; ++i) column[i] = load(tile + (i * kIn + j) * point);
          },
          transform_output,
          [&](int i, const Vec(&values)[kOut]) {
            if (i >= rows) return;
            for (int j = 0; j < cols; ++j)
              store_lanes(to + (ptrdiff_t{i} * g.out_w + j) * g.c_out + channel, values[j], lanes);
          });
    }
  }
}

// ---- passes -------------------------------------------------------------------------------------

ptrdiff_t part_size(const DirectConv& g) { return std::max(block_size(g.c_in) + block_size(g.c_out), taps_size(g)); }

std::size_t correlation_scratch(const DirectConv& g, int threads) {
  return static_cast<std::size_t>(weights_size(g) + threads * part_size(g));
}

template <class T>
void correlate(T* out, const T* in, const float* weights, float* parts, const DirectConv& g, int threads) {
  const Tiles tiles(g);
  const DirectConv blocks = in_blocks(g);
  for_each_block_of(tiles, threads, [&](int part, ptrdiff_t first, ptrdiff_t count) {
    float* v = parts + part * part_size(g);
    float* m = v + block_size(g.c_in);
    transform_inputs(v, in, g, tiles, first, count);
    multiply_block(m, v, weights, blocks, count,
                   tiles.prefetcher(in, g.h, ptrdiff_t{g.w} * g.c_in, first + count, count),
                   tiles.prefetcher<PrefetchFor::kWrite>(out, g.out_h, ptrdiff_t{g.out_w} * g.c_out, first, count));
    with_fullness(g.c_out, [&](auto full) { transform_outputs<full>(out, m, g, tiles, first, count); });
  });
}

// The geometry of the convolution of dy that gives dx.
DirectConv turned_about(const DirectConv& g) {
  DirectConv t = g;
  t.h = g.out_h, t.w = g.out_w, t.c_in = g.c_out;
  t.out_h = g.h, t.out_w = g.w, t.c_out = g.c_in;
  t.padding = 2 - g.padding;
  return t;
}

}  // namespace

std::size_t winograd_conv_weights_size(const DirectConv& g) { return static_cast<std::size_t>(weights_size(g)); }

void winograd_conv_weights(float* u, const float* w, float* scratch, const DirectConv& g, int threads) {
  transform_weights(u, scratch, g, threads, ptrdiff_t{kTaps} * g.c_in,
                    [&](int a, int b, int i) { return w + ptrdiff_t{a * 3 + b} * g.c_in + i; });
}

template <class T>
void winograd_conv_forward_with(T* y, const T* x, const float* u, float* scratch, const DirectConv& g, int threads) {
  correlate(y, x, u, scratch, g, threads);
}

template <class T>
void winograd_conv_forward(T* y, const T* x, const float* w, float* scratch, const DirectConv& g, int threads) {
  float* parts = scratch + weights_size(g);
  winograd_conv_weights(scratch, w, parts, g, threads);
  correlate(y, x, scratch, parts, g, threads);
}

template <class T>
void winograd_conv_backward_data(T* dx, const T* dy, const float* w, float* scratch, const DirectConv& g, int threads) {
  const DirectConv turned = turned_about(g);
  float* parts = scratch + weights_size(turned);
  transform_weights(scratch, parts, turned, threads, 1,
                    [&](int a, int b, int i) { return w + (ptrdiff_t{i} * kTaps + (2 - a) * 3 + 2 - b) * g.c_in; });
  correlate(dx, dy, scratch, parts, turned, threads);
}

template void winograd_conv_forward(float*, const float*, const float*, float*, const DirectConv&, int);
template void winograd_conv_forward(std::uint16_t*, const std::uint16_t*, const float*, float*, const DirectConv&, int);
template void winograd_conv_forward_with(float*, const float*, const float*, float*, const DirectConv&, int);
template void winograd_conv_forward_with(std::uint16_t*, const std::uint16_t*, const float*, float*, const DirectConv&,
                                         int);
template void winograd_conv_backward_data(float*, const float*, const float*, float*, const DirectConv&, int);
template void winograd_conv_backward_data(std::uint16_t*, const std::uint16_t*, const float*, float*, const DirectConv&,
                                          int);

bool winograd_conv_supported(const DirectConv& g, ConvPass pass) {
  return direct_conv_supported(in_blocks(g), pass) && g.kernel_h == 3 && g.kernel_w == 3 && g.stride == 1 &&
         g.padding <= 2;
}

std::size_t winograd_conv_scratch(const DirectConv& g, ConvPass pass, int threads) {
  if (pass == ConvPass::kForward) return correlation_scratch(g, threads);
  if (pass == ConvPass::kBackwardData) return correlation_scratch(turned_about(g), threads);
  return weight_gradient_scratch(g, threads);
}

}  // namespace fulcrum::cpu
