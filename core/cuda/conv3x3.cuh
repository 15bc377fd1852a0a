// Shared by the kernels of conv3x3.h: tiles of pixels in shared memory, with a border of one pixel. Each tap of the
// convolution reads the tile at a shift of its own.
#pragma once

#include <fulcrum/core/cuda/copy_async.cuh>
#include <fulcrum/core/cuda/packs.cuh>
#include <fulcrum/core/cuda/tensor_cores.cuh>

namespace fulcrum::cuda {

inline constexpr int kTaps = 9;

/// The layout of a tile of 8 rows of kWide pixels.
template <int C, int kWide>
struct PixelTile {
  static constexpr int kHeight = 8, kWidth = kWide, kPixels = kHeight * kWidth;
  static constexpr int kPacks = C / 8;  // of 16 bytes, per pixel
  /// Elements from one pixel to the next: 16 bytes of padding put 8 neighbours into different banks.
  static constexpr int kStride = C + 8;
  static constexpr int kBorderedWidth = kWidth + 2, kBordered = (kHeight + 2) * kBorderedWidth;

  /// Offset of what tap 0 reads for pixel `p`, in a tile with a border. shift(tap) is added for another tap.
  static __device__ int bordered(int p) { return (p / kWidth * kBorderedWidth + p % kWidth) * kStride; }
  static __device__ int shift(int tap) { return (tap / 3 * kBorderedWidth + tap % 3) * kStride; }
};

/// Images [n, h, w, C] cut into tiles. An image has fewer than 2³¹ elements, the batch fewer than 2³¹ tiles.
struct TiledImages {
  int h, w;
  unsigned across, of_image, tiles;

  template <class Tile>
  static TiledImages of(int64_t n, int64_t h, int64_t w) {
    const int64_t across = (w + Tile::kWidth - 1) / Tile::kWidth;
    const int64_t of_image = (h + Tile::kHeight - 1) / Tile::kHeight * across;
    return {static_cast<int>(h), static_cast<int>(w), static_cast<unsigned>(across), static_cast<unsigned>(of_image),
            static_cast<unsigned>(n * of_image)};
  }
};

/// Where a tile lies: its image, and its first pixel in the image.
template <int C, class Tile>
struct TilePlace {
  int64_t image;  // offset of the image in the batch, in elements
  int top, left;

  __device__ TilePlace(const TiledImages& s, unsigned tile) {
    const unsigned i = tile / s.of_image, inside = tile - i * s.of_image, row = inside / s.across;
    image = static_cast<int64_t>(i) * s.h * s.w * C;
    top = static_cast<int>(row) * Tile::kHeight;
    left = static_cast<int>(inside - row * s.across) * Tile::kWidth;
  }
};

/// Starts copying a tile with kBorder pixels around it to shared memory; pixels outside of the image become 0.
template <int C, class Tile, int kBorder, int kThreads>
__device__ void load_tile(bf16* shared, const bf16* x, const TiledImages& s, const TilePlace<C, Tile>& place) {
  constexpr int kWidth = Tile::kWidth + 2 * kBorder, kCount = (Tile::kHeight + 2 * kBorder) * kWidth * Tile::kPacks;
  const bf16* const image = x + place.image;
  FULCRUM_UNROLL
  for (int first = 0; first < kCount; first += kThreads) {
    const int i = first + static_cast<int>(threadIdx.x);
    if (i >= kCount) break;
    const int pack = i % Tile::kPacks, pixel = i / Tile::kPacks;
    const int row = place.top + pixel / kWidth - kBorder, column = place.left + pixel % kWidth - kBorder;
    const bool inside = row >= 0 && row < s.h && column >= 0 && column < s.w;
    copy_async(shared + pixel * Tile::kStride + pack * 8, inside ? image + (row * s.w + column) * C + pack * 8 : x,
               inside);
  }
}

}  // namespace fulcrum::cuda
