// Forward pass and gradient of x: each warp computes 16 or 32 pixels of a tile, as a product of [pixels, 9·C] with the
// weights.
//
// The gradient of x is the same sum with dy in place of x, the taps in reverse order and the weights transposed. The
// transposition happens as they are read from shared memory.
#include <fulcrum/core/cuda/conv3x3.h>

#include <limits>

#include <fulcrum/core/cuda/conv3x3_weights.h>
#include <fulcrum/core/cuda/conv3x3.cuh>

namespace fulcrum::cuda {

namespace {

template <int C>
struct Conv3x3Plan {
  using Tile = PixelTile<C, C == 64 ? 8 : 16>;
  static constexpr int kWarpsAcross = C == 64 ? 2 : 1;  // that compute the same pixels, each for a part of the channels
  static constexpr int kDown = C == 64 ? 1 : 2;         // products of 16 pixels per warp
  static constexpr int kWarps = Tile::kPixels / (16 * kDown) * kWarpsAcross, kThreads = 32 * kWarps;
  static constexpr int kAcross = C / 8 / kWarpsAcross;  // products of 8 channels per warp

  // Weights are loaded into shared memory in stages of kStageTaps taps, kAhead stages ahead: for 64 channels, all taps
  // together would not fit.
  static constexpr int kStageTaps = C == 64 ? 1 : kTaps, kStages = kTaps / kStageTaps;
  static constexpr int kBuffers = kStages > 1 ? 3 : 1, kAhead = kStages > 1 ? kBuffers - 1 : 1;
  static constexpr int kRow = kStageTaps * C + 8;  // elements per channel of y; 8 rows lie in different banks

  struct alignas(16) Shared {
    bf16 pixels[Tile::kBordered * Tile::kStride];
    bf16 weights[kBuffers][C * kRow];
  };
};

/// Starts copying the weights [C, taps, C] of a stage to shared memory.
template <int C>
__device__ void load_weights(bf16* shared, const bf16* w, int stage) {
  using P = Conv3x3Plan<C>;
  constexpr int kRowPacks = P::kStageTaps * C / 8, kCount = C * kRowPacks;
  FULCRUM_UNROLL
  for (int first = 0; first < kCount; first += P::kThreads) {
    const int i = first + static_cast<int>(threadIdx.x), row = i / kRowPacks, pack = i % kRowPacks;
    if (i >= kCount) break;
    copy_async(shared + row * P::kRow + pack * 8, w + (row * kTaps + stage * P::kStageTaps) * C + pack * 8, true);
  }
}

template <int C, bool kDataGradient>
__global__ void __launch_bounds__(Conv3x3Plan<C>::kThreads)
    conv3x3_kernel(bf16* y, const bf16* x, const bf16* w, TiledImages s) {
  using P = Conv3x3Plan<C>;
  using Tile = typename P::Tile;
  __shared__ typename P::Shared shared;
  const TilePlace<C, Tile> place(s, blockIdx.x);
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int first_pixel = warp / P::kWarpsAcross * 16 * P::kDown;
  const int first_channel = warp % P::kWarpsAcross * 8 * P::kAcross;

  load_tile<C, Tile, 1, P::kThreads>(shared.pixels, x, s, place);
  for (int stage = 0; stage < P::kAhead; stage++) {
    load_weights<C>(shared.weights[stage], w, stage);
    close_copies();
  }
  const bf16* pixels[P::kDown];
  FULCRUM_UNROLL
  for (int m = 0; m < P::kDown; m++)
    pixels[m] = shared.pixels + Tile::bordered(first_pixel + 16 * m + lane % 16) + lane / 16 * 8;
  // A row of the weights belongs to a term of the sum (gradient) or to an output channel (forward).
  const int half = lane / 16 * 8, other_half = lane / 8 % 2 * 8, row = lane % 8;
  const int at_weights = kDataGradient ? (other_half + row) * P::kRow + half + first_channel
                                       : (half + row + first_channel) * P::kRow + other_half;

  float sum[P::kDown][P::kAcross][4] = {};
  for (int stage = 0; stage < P::kStages; stage++) {
    wait_for_copies<P::kAhead - 1>();
    __syncthreads();  // this stage has arrived, and all warps are done with the last one
    if constexpr (P::kStages > 1) {
      if (const int next = stage + P::kAhead; next < P::kStages)
        load_weights<C>(shared.weights[next % P::kBuffers], w, next);
      close_copies();
    }
    const bf16* const weights = shared.weights[stage % P::kBuffers] + at_weights;
    for (int t = 0; t < P::kStageTaps; t++) {
      const int tap = stage * P::kStageTaps + t, shift = Tile::shift(kDataGradient ? kTaps - 1 - tap : tap);
      FULCRUM_UNROLL
      for (int k = 0; k < C; k += 16) {
        uint32_t b[P::kAcross / 2][4];
        FULCRUM_UNROLL
        for (int n = 0; n < P::kAcross / 2; n++)
          load_matrices<kDataGradient>(b[n],
                                       weights + t * C + (kDataGradient ? k * P::kRow + 16 * n : 16 * n * P::kRow + k));
        FULCRUM_UNROLL
        for (int m = 0; m < P::kDown; m++) {
          uint32_t a[4];
          load_matrices<false>(a, pixels[m] + shift + k);
          FULCRUM_UNROLL
          for (int n = 0; n < P::kAcross; n++) multiply_add(sum[m][n], a, b[n / 2][n % 2 * 2], b[n / 2][n % 2 * 2 + 1]);
        }
      }
    }
  }
  __syncthreads();

  // Store through shared memory, so that each thread writes 16 bytes, and neighbouring threads neighbouring addresses.
  FULCRUM_UNROLL
  for (int m = 0; m < P::kDown; m++) {
    FULCRUM_UNROLL
    for (int n = 0; n < P::kAcross; n++)
      for (int down = 0; down < 2; down++) {
        const int pixel = first_pixel + 16 * m + 8 * down + lane / 4, channel = first_channel + 8 * n + lane % 4 * 2;
        *reinterpret_cast<Pack<bf16, 2>*>(shared.pixels + pixel * Tile::kStride +
                                          channel) = {{bf16(sum[m][n][2 * down]), bf16(sum[m][n][2 * down + 1])}};
      }
  }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < Tile::kPixels * Tile::kPacks; i += P::kThreads) {
    const int pack = i % Tile::kPacks, pixel = i / Tile::kPacks;
    const int r = place.top + pixel / Tile::kWidth, c = place.left + pixel % Tile::kWidth;
    if (r < s.h && c < s.w)
      put_pack(y + place.image, (r * s.w + c) * C + pack * 8,
               pack_at<8>(shared.pixels, pixel * Tile::kStride + pack * 8));
  }
}

template <int C>
void run_conv3x3(const ConvProblem& problem, const ConvPointers& p) {
  using P = Conv3x3Plan<C>;
  const Conv2dGeometry& g = problem.geometry;
  const auto s = TiledImages::of<typename P::Tile>(g.n, g.h, g.w);
  const auto in = [](const void* memory) { return static_cast<const bf16*>(memory); };
  const auto out = [](const void* memory) { return static_cast<bf16*>(const_cast<void*>(memory)); };
  const Grid grid{s.tiles, P::kThreads};
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
  constexpr int64_t kMost = std::numeric_limits<int>::max();
  return problem.dtype == DType::kBf16 && !problem.bias && g == fitting && (g.c == 16 || g.c == 32 || g.c == 64) &&
         g.n > 0 && g.h * g.w * g.c < kMost && g.n * g.h * g.w < kMost;
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
