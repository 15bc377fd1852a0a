// Weight gradient: for each tap the product dyᵀ·x, [C, pixels] · [pixels, C], summed over all pixels of the batch.
//
// A block sums over some of the tiles and loads the next one while it multiplies. It writes its f32 sums to scratch
// memory in the order in which the lanes hold them, and a second kernel adds up those of all blocks: with atomic
// additions the result would differ from run to run.
#include <fulcrum/core/cuda/conv3x3_weights.h>

#include <fulcrum/core/cuda/conv3x3.cuh>

namespace fulcrum::cuda {

namespace {

template <int C>
struct WeightsPlan {
  using Tile = PixelTile<C, C == 16 ? 16 : 8>;
  static constexpr int kDown = C / 16;               // products of 16 channels of dy
  static constexpr int kWarpTaps = C == 16 ? 9 : 3;  // taps per warp
  static constexpr int kBlockTaps = C == 32 ? kTaps : kWarpTaps, kBlocksATile = kTaps / kBlockTaps;
  static constexpr int kParts = kDown * (kBlockTaps / kWarpTaps);  // into which a block's sums are split
  static constexpr int kPixelParts = C == 16 ? 4 : 1;  // warps that compute the same part, over different pixels
  static constexpr int kThreads = 32 * kParts * kPixelParts;
  static constexpr int kValues = kWarpTaps * C / 2;  // per lane, of a part
  static constexpr int kBlockSums = kParts * kValues * 32, kSums = kBlockSums * kBlocksATile;
  static_assert(kSums == C * kTaps * C);
  /// The most slabs of tiles (kBlocksATile blocks each). More of them fill the device better, and leave more to add up.
  static constexpr unsigned kMostSlabs = C == 16 ? 264 : C == 32 ? 132 : 44;

  struct alignas(16) Tiles {
    bf16 x[Tile::kBordered * Tile::kStride];
    bf16 dy[Tile::kPixels * Tile::kStride];
  };
  union Shared {
    Tiles tiles[2];
    float sums[kPixelParts][kPixelParts > 1 ? kBlockSums : 1];
  };
};

/// Writes partial [slabs, kSums].
template <int C>
__global__ void __launch_bounds__(WeightsPlan<C>::kThreads)
    weight_gradient_kernel(float* partial, const bf16* dy, const bf16* x, TiledImages s, unsigned slabs) {
  using P = WeightsPlan<C>;
  using Tile = typename P::Tile;
  __shared__ typename P::Shared shared;
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int pixel_part = warp % P::kPixelParts, part = warp / P::kPixelParts;
  const int taps_of_block = static_cast<int>(blockIdx.x % P::kBlocksATile);
  const int first_row = part % P::kDown * 16;
  const int first_tap = taps_of_block * P::kBlockTaps + part / P::kDown * P::kWarpTaps;
  const unsigned slab = blockIdx.x / P::kBlocksATile;
  const auto load = [&](typename P::Tiles& tiles, unsigned tile) {
    const TilePlace<C, Tile> place(s, tile);
    load_tile<C, Tile, 1, P::kThreads>(tiles.x, x, s, place);
    load_tile<C, Tile, 0, P::kThreads>(tiles.dy, dy, s, place);
    close_copies();
  };

  float sum[P::kWarpTaps][C / 8][4] = {};
  int buffer = 0;
  load(shared.tiles[0], slab);
  for (unsigned tile = slab; tile < s.tiles; tile += slabs, buffer = 1 - buffer) {
    wait_for_copies<0>();
    __syncthreads();  // this tile has arrived, and all warps are done with the last one
    if (tile + slabs < s.tiles) load(shared.tiles[1 - buffer], tile + slabs);
    const typename P::Tiles& tiles = shared.tiles[buffer];
    for (int p = 16 * pixel_part; p < Tile::kPixels; p += 16 * P::kPixelParts) {
      uint32_t a[4];
      load_matrices<true>(a, tiles.dy + (p + lane / 16 * 8 + lane % 8) * Tile::kStride + first_row + lane / 8 % 2 * 8);
      const bf16* const pixel = tiles.x + Tile::bordered(p + lane % 16) + lane / 16 * 8;
      FULCRUM_UNROLL
      for (int t = 0; t < P::kWarpTaps; t++) {
        FULCRUM_UNROLL
        for (int n = 0; n < C / 8; n += 2) {
          uint32_t b[4];
          load_matrices<true>(b, pixel + Tile::shift(first_tap + t) + 8 * n);
          multiply_add(sum[t][n], a, b[0], b[1]);
          multiply_add(sum[t][n + 1], a, b[2], b[3]);
        }
      }
    }
  }

  float* const out = partial + static_cast<int64_t>(slab) * P::kSums + taps_of_block * P::kBlockSums;
  float* own = out + part * P::kValues * 32;
  if constexpr (P::kPixelParts > 1) {
    __syncthreads();  // the sums overwrite the tiles
    own = shared.sums[pixel_part] + part * P::kValues * 32;
  }
  FULCRUM_UNROLL
  for (int v = 0; v < P::kValues; v++) own[v * 32 + lane] = sum[v / 4 / (C / 8)][v / 4 % (C / 8)][v % 4];
  if constexpr (P::kPixelParts > 1) {
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < P::kBlockSums; i += P::kThreads) {
      float total = shared.sums[0][i];
      for (int other = 1; other < P::kPixelParts; other++) total += shared.sums[other][i];
      out[i] = total;
    }
  }
}

/// Index in dw [C, taps, C] of sum `i` of a slab.
template <int C>
__device__ int weight_of_sum(int i) {
  using P = WeightsPlan<C>;
  const int lane = i % 32, v = i / 32 % P::kValues, part = i / 32 / P::kValues;
  const int row = part % P::kDown * 16 + v % 4 / 2 * 8 + lane / 4;
  const int tap = part / P::kDown * P::kWarpTaps + v / 4 / (C / 8);
  const int column = v / 4 % (C / 8) * 8 + lane % 4 * 2 + v % 2;
  return (row * kTaps + tap) * C + column;
}

constexpr int kJoinColumns = 32, kJoinParts = 8;

/// Sums over the slabs. kJoinParts threads share a sum: each adds every kJoinParts-th slab.
template <int C>
__global__ void __launch_bounds__(kJoinColumns* kJoinParts)
    join_slabs_kernel(bf16* dw, const float* partial, unsigned slabs) {
  constexpr int kSums = WeightsPlan<C>::kSums;
  static_assert(kSums % kJoinColumns == 0);
  __shared__ float sums[kJoinParts][kJoinColumns];
  const int column = static_cast<int>(threadIdx.x) % kJoinColumns;
  const unsigned part = threadIdx.x / kJoinColumns;
  const int i = static_cast<int>(blockIdx.x) * kJoinColumns + column;
  float sum = 0;
  for (unsigned slab = part; slab < slabs; slab += kJoinParts) sum += partial[static_cast<int64_t>(slab) * kSums + i];
  sums[part][column] = sum;
  __syncthreads();
  if (part > 0) return;
  for (int other = 1; other < kJoinParts; other++) sum += sums[other][column];
  dw[weight_of_sum<C>(i)] = bf16(sum);
}

template <int C>
void sum_weights(bf16* dw, const bf16* dy, const bf16* x, const Conv2dGeometry& g) {
  using P = WeightsPlan<C>;
  const auto s = TiledImages::of<typename P::Tile>(g.n, g.h, g.w);
  const unsigned slab_tiles = (s.tiles + P::kMostSlabs - 1) / P::kMostSlabs;
  const unsigned slabs = (s.tiles + slab_tiles - 1) / slab_tiles;
  Tensor partial = empty({slabs, P::kSums}, {DType::kF32, Device(Device::Kind::kCuda, current_device())});
  launch(weight_gradient_kernel<C>, Grid{slabs * P::kBlocksATile, P::kThreads}, partial.data<float>(), dy, x, s, slabs);
  launch(join_slabs_kernel<C>, Grid{P::kSums / kJoinColumns, kJoinColumns * kJoinParts}, dw, partial.data<float>(),
         slabs);
}

}  // namespace

void conv3x3_weight_gradient(bf16* dw, const bf16* dy, const bf16* x, const Conv2dGeometry& g) {
  switch (g.c) {
    case 16: return sum_weights<16>(dw, dy, x, g);
    case 32: return sum_weights<32>(dw, dy, x, g);
    case 64: return sum_weights<64>(dw, dy, x, g);
    default: fail("[conv2d_weight_gradient] expected 16, 32 or 64 channels, got ", g.c);
  }
}

}  // namespace fulcrum::cuda
