// y and the gradient of x: every warp computes 16 or 32 pixels of a tile, as a product of [pixels, 9·C] with the weights.
//
// The gradient of x is the same sum with dy in the place of x, the taps in reversed order and the weights transposed,
// which is how they are read from shared memory.
#include <fulcrum/core/cuda/conv3x3.h>

#include <fulcrum/core/cuda/conv3x3_weights.h>
#include <fulcrum/core/cuda/conv3x3.cuh>

namespace fulcrum::cuda {

namespace {

template <int C>
struct Conv3x3Plan {
  using T = PixelTile<C>;
  static constexpr int kWarpsAcross = C == 64 ? 2 : 1;  // that share pixels, with a part of the channels each
  static constexpr int kDown = C == 64 ? 1 : 2;         // products of 16 pixels a warp
  static constexpr int kWarps = T::kPixels / (16 * kDown) * kWarpsAcross;
  static constexpr int kThreads = 32 * kWarps;
  static constexpr int kAcross = C / 8 / kWarpsAcross;  // products of 8 channels a warp
  static constexpr int kStageTaps = C == 64 ? 3 : 9;    // whose weights are in shared memory at a time
  static constexpr int kStagePacks = kStageTaps * C * T::kPacks;
  static constexpr int kPacksAThread = (kStagePacks + kThreads - 1) / kThreads;

  struct alignas(16) Shared {
    bf16 pixels[T::kBordered * T::kStride];
    bf16 weights[kStageTaps * C * T::kStride];
  };
};

/// The weights [C, taps, C] of some taps, on their way from global memory to shared.
template <int C>
struct WeightStage {
  using P = Conv3x3Plan<C>;
  Pack<uint32_t, 4> packs[P::kPacksAThread];

  static __device__ int index(int k) { return static_cast<int>(threadIdx.x) + k * P::kThreads; }

  __device__ void fetch(const bf16* w, int first_tap) {
    FULCRUM_UNROLL
    for (int k = 0; k < P::kPacksAThread; k++)
      if (const int i = index(k); i < P::kStagePacks) {
        const int pack = i % P::T::kPacks, tap = i / P::T::kPacks % P::kStageTaps, c = i / P::T::kPacks / P::kStageTaps;
        packs[k] = *reinterpret_cast<const Pack<uint32_t, 4>*>(w + (c * kTaps + first_tap + tap) * C + pack * 8);
      }
  }
  __device__ void put(bf16* shared) const {
    FULCRUM_UNROLL
    for (int k = 0; k < P::kPacksAThread; k++)
      if (const int i = index(k); i < P::kStagePacks) {
        const int pack = i % P::T::kPacks, tap = i / P::T::kPacks % P::kStageTaps, c = i / P::T::kPacks / P::kStageTaps;
        *reinterpret_cast<Pack<uint32_t, 4>*>(shared + (tap * C + c) * P::T::kStride + pack * 8) = packs[k];
      }
  }
};

template <int C, bool kDataGradient>
__global__ void __launch_bounds__(Conv3x3Plan<C>::kThreads)
    conv3x3_kernel(bf16* y, const bf16* x, const bf16* w, TiledImages s) {
  using P = Conv3x3Plan<C>;
  using T = PixelTile<C>;
  __shared__ typename P::Shared shared;
  const TilePlace<C> place(s, blockIdx.x);
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int first_pixel = warp / P::kWarpsAcross * 16 * P::kDown;
  const int first_channel = warp % P::kWarpsAcross * 8 * P::kAcross;

  WeightStage<C> stage;
  stage.fetch(w, 0);
  load_tile<C, 1>(shared.pixels, x, s, place);
  float sum[P::kDown][P::kAcross][4] = {};
  const bf16* pixels[P::kDown];
  FULCRUM_UNROLL
  for (int m = 0; m < P::kDown; m++)
    pixels[m] = shared.pixels + T::bordered(first_pixel + 16 * m + lane % 16) + lane / 16 * 8;
  // Rows of the weights are what the sum is over, or what it is for.
  const int in_row = lane / 16 * 8 + lane % 8, in_column = lane / 8 % 2 * 8;
  const bf16* const weights =
      shared.weights + (kDataGradient ? (in_column + lane % 8) * T::kStride + lane / 16 * 8 + first_channel
                                      : (in_row + first_channel) * T::kStride + in_column);
  for (int first_tap = 0; first_tap < kTaps; first_tap += P::kStageTaps) {
    stage.put(shared.weights);
    __syncthreads();
    if (first_tap + P::kStageTaps < kTaps) stage.fetch(w, first_tap + P::kStageTaps);
    for (int t = 0; t < P::kStageTaps; t++) {
      const int shift = T::shift(kDataGradient ? kTaps - 1 - first_tap - t : first_tap + t);
      FULCRUM_UNROLL
      for (int k = 0; k < C; k += 16) {
        uint32_t b[P::kAcross / 2][4];
        FULCRUM_UNROLL
        for (int n = 0; n < P::kAcross / 2; n++)
          load_matrices<kDataGradient>(
              b[n], weights + t * C * T::kStride + (kDataGradient ? k * T::kStride + 16 * n : 16 * n * T::kStride + k));
        FULCRUM_UNROLL
        for (int m = 0; m < P::kDown; m++) {
          uint32_t a[4];
          load_matrices<false>(a, pixels[m] + shift + k);
          FULCRUM_UNROLL
          for (int n = 0; n < P::kAcross; n++) multiply_add(sum[m][n], a, b[n / 2][n % 2 * 2], b[n / 2][n % 2 * 2 + 1]);
        }
      }
    }
    __syncthreads();
  }

  // Through shared memory, so that threads write 16 bytes each, and neighbours next to each other.
  FULCRUM_UNROLL
  for (int m = 0; m < P::kDown; m++) FULCRUM_UNROLL
  for (int n = 0; n < P::kAcross; n++)
    for (int half = 0; half < 2; half++) {
      const int pixel = first_pixel + 16 * m + 8 * half + lane / 4, channel = first_channel + 8 * n + lane % 4 * 2;
      *reinterpret_cast<Pack<bf16, 2>*>(shared.pixels + pixel * T::kStride +
                                        channel) = {{bf16(sum[m][n][2 * half]), bf16(sum[m][n][2 * half + 1])}};
    }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < T::kPixels * T::kPacks; i += P::kThreads) {
    const int pack = i % T::kPacks, pixel = i / T::kPacks;
    const int row = place.top + pixel / T::kWidth, column = place.left + pixel % T::kWidth;
    if (row < s.h && column < s.w)
      put_pack(y, ((place.image * s.h + row) * s.w + column) * C + pack * 8,
               pack_at<8>(shared.pixels, pixel * T::kStride + pack * 8));
  }
}

template <int C>
void run_conv3x3(const ConvProblem& problem, const ConvPointers& p) {
  const Conv2dGeometry& g = problem.geometry;
  const TiledImages s(g.n, g.h, g.w, PixelTile<C>::kHeight, PixelTile<C>::kWidth);
  const Grid grid{static_cast<unsigned>(s.tiles), Conv3x3Plan<C>::kThreads};
  const auto in = [](const void* memory) { return static_cast<const bf16*>(memory); };
  const auto out = [](const void* memory) { return static_cast<bf16*>(const_cast<void*>(memory)); };
  switch (problem.pass) {
    case ConvPass::kForward: return launch(conv3x3_kernel<C, false>, grid, out(p.y), in(p.x), in(p.w), s);
    case ConvPass::kDataGradient: return launch(conv3x3_kernel<C, true>, grid, out(p.x), in(p.y), in(p.w), s);
    case ConvPass::kWeightGradient: return conv3x3_weight_gradient(out(p.w), in(p.y), in(p.x), g);
  }
}

}  // namespace

bool conv3x3_fits(const ConvProblem& problem) {
  const Conv2dGeometry& g = problem.geometry;
  const Conv2dGeometry fitting{g.n, g.h, g.w, g.c, g.h, g.w, g.c, 3, 3, 1, 1, 1, 1, 1, 1, 1};
  return problem.dtype == DType::kBf16 && !problem.bias && g == fitting && (g.c == 16 || g.c == 32 || g.c == 64);
}

void conv3x3(const ConvProblem& problem, const ConvPointers& pointers) {
  switch (problem.geometry.c) {
    case 16: return run_conv3x3<16>(problem, pointers);
    case 32: return run_conv3x3<32>(problem, pointers);
    case 64: return run_conv3x3<64>(problem, pointers);
    default: fail("[", name_of(problem.pass), "] expected 16, 32 or 64 channels, got ", problem.geometry.c);
  }
}

}  // namespace fulcrum::cuda
