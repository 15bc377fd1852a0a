// A product of dy transposed with x for every tap: [C, pixels] · [pixels, C], summed over all pixels of the batch.
//
// A block sums over some tiles. Its sums, f32, go to scratch memory, and a second kernel joins those of all blocks in
// their order: an atomic sum would come out another way every time.
#include <fulcrum/core/cuda/conv3x3_weights.h>

#include <fulcrum/core/cuda/conv3x3.cuh>

namespace fulcrum::cuda {

namespace {

template <int C>
struct WeightsPlan {
  using T = PixelTile<C>;
  static constexpr int kDown = C / 16;               // products of 16 channels of dy
  static constexpr int kWarpTaps = C == 16 ? 9 : 3;  // a warp has sums for
  static constexpr int kBlockTaps = C == 32 ? 9 : kWarpTaps;
  static constexpr int kBlocksATile = kTaps / kBlockTaps;
  static constexpr int kPixelParts = C == 16 ? 4 : 1;  // warps that share sums, and take turns at the pixels
  static constexpr int kWarps = kDown * (kBlockTaps / kWarpTaps) * kPixelParts, kThreads = 32 * kWarps;
  static constexpr int kSize = C * kTaps * C;
  // Blocks that sum: more are busier, and leave more to join.
  static constexpr int64_t kMostSlabs = C == 16 ? 264 : C == 32 ? 132 : 44;

  struct alignas(16) Tiles {
    bf16 x[T::kBordered * T::kStride];
    bf16 dy[T::kPixels * T::kStride];
  };
  union Shared {
    Tiles tiles;
    float sums[kPixelParts > 1 ? kSize : 1];
  };
};

template <int C>
__global__ void __launch_bounds__(WeightsPlan<C>::kThreads)
    weight_gradient_kernel(float* partial, const bf16* dy, const bf16* x, TiledImages s, int64_t slabs) {
  using P = WeightsPlan<C>;
  using T = PixelTile<C>;
  __shared__ typename P::Shared shared;
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int pixel_part = warp % P::kPixelParts, first_row = warp / P::kPixelParts % P::kDown * 16;
  const int first_tap =
      static_cast<int>(blockIdx.x % P::kBlocksATile) * P::kBlockTaps + warp / P::kPixelParts / P::kDown * P::kWarpTaps;
  const int64_t slab = blockIdx.x / P::kBlocksATile;

  float sum[P::kWarpTaps][C / 8][4] = {};
  for (int64_t tile = slab; tile < s.tiles; tile += slabs) {
    const TilePlace<C> place(s, tile);
    __syncthreads();  // all have done with the last one
    load_tile<C, 1>(shared.tiles.x, x, s, place);
    load_tile<C, 0>(shared.tiles.dy, dy, s, place);
    __syncthreads();
    for (int p = 16 * pixel_part; p < T::kPixels; p += 16 * P::kPixelParts) {
      uint32_t a[4];
      load_matrices<true>(a,
                          shared.tiles.dy + (p + lane / 16 * 8 + lane % 8) * T::kStride + first_row + lane / 8 % 2 * 8);
      const bf16* const pixel = shared.tiles.x + T::bordered(p + lane % 16) + lane / 16 * 8;
      FULCRUM_UNROLL
      for (int t = 0; t < P::kWarpTaps; t++) FULCRUM_UNROLL
      for (int n = 0; n < C / 8; n += 2) {
        uint32_t b[4];
        load_matrices<true>(b, pixel + T::shift(first_tap + t) + 8 * n);
        multiply_add(sum[t][n], a, b[0], b[1]);
        multiply_add(sum[t][n + 1], a, b[2], b[3]);
      }
    }
  }

  float* const out = partial + slab * P::kSize;
  const auto each_sum = [&](auto take) {
    FULCRUM_UNROLL
    for (int t = 0; t < P::kWarpTaps; t++) FULCRUM_UNROLL
    for (int n = 0; n < C / 8; n++)
      for (int half = 0; half < 2; half++) {
        const int row = first_row + 8 * half + lane / 4, column = 8 * n + lane % 4 * 2;
        take((row * kTaps + first_tap + t) * C + column, sum[t][n][2 * half], sum[t][n][2 * half + 1]);
      }
  };
  if constexpr (P::kPixelParts == 1) {
    each_sum([&](int at, float first, float second) {
      *reinterpret_cast<Pack<float, 2>*>(out + at) = {{first, second}};
    });
  } else {
    for (int turn = 0; turn < P::kPixelParts; turn++) {
      __syncthreads();
      if (turn == pixel_part)
        each_sum([&](int at, float first, float second) {
          shared.sums[at] = turn > 0 ? shared.sums[at] + first : first;
          shared.sums[at + 1] = turn > 0 ? shared.sums[at + 1] + second : second;
        });
    }
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < P::kSize; i += P::kThreads) out[i] = shared.sums[i];
  }
}

constexpr int kJoinColumns = 32, kJoinParts = 8;

/// dw[i] = Σ partial[slab, i]: each of kJoinParts threads has every kJoinParts-th slab.
__global__ void __launch_bounds__(kJoinColumns* kJoinParts)
    join_slabs_kernel(bf16* dw, const float* partial, int64_t slabs, int64_t size) {
  __shared__ float sums[kJoinParts][kJoinColumns];
  const int column = static_cast<int>(threadIdx.x) % kJoinColumns, part = static_cast<int>(threadIdx.x) / kJoinColumns;
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kJoinColumns + column;
  float sum = 0;
  if (i < size)
    for (int64_t slab = part; slab < slabs; slab += kJoinParts) sum += partial[slab * size + i];
  sums[part][column] = sum;
  __syncthreads();
  if (part > 0 || i >= size) return;
  for (int other = 1; other < kJoinParts; other++) sum += sums[other][column];
  dw[i] = bf16(sum);
}

template <int C>
void sum_weights(bf16* dw, const bf16* dy, const bf16* x, const Conv2dGeometry& g) {
  using P = WeightsPlan<C>;
  const TiledImages s(g.n, g.h, g.w, PixelTile<C>::kHeight, PixelTile<C>::kWidth);
  const int64_t slab_tiles = (s.tiles + P::kMostSlabs - 1) / P::kMostSlabs;
  const int64_t slabs = (s.tiles + slab_tiles - 1) / slab_tiles;
  Tensor partial = empty({slabs, P::kSize}, {DType::kF32, Device(Device::Kind::kCuda, current_device())});
  launch(weight_gradient_kernel<C>, Grid{static_cast<unsigned>(slabs * P::kBlocksATile), P::kThreads},
         partial.data<float>(), dy, x, s, slabs);
  launch(join_slabs_kernel, Grid{(P::kSize + kJoinColumns - 1) / kJoinColumns, kJoinColumns * kJoinParts}, dw,
         partial.data<float>(), slabs, P::kSize);
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
