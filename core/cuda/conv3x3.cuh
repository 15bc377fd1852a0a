// What the kernels of conv3x3.h share: tiles of pixels of an image in shared memory, with a border of one pixel, of which
// a tap of the convolution takes a shifted part.
#pragma once

#include <fulcrum/core/cuda/copy_async.cuh>
#include <fulcrum/core/cuda/packs.cuh>
#include <fulcrum/core/cuda/tensor_cores.cuh>

namespace fulcrum::cuda {

inline constexpr int kTaps = 9;

/// 8 rows of kWide pixels.
template <int C, int kWide>
struct PixelTile {
  static constexpr int kHeight = 8, kWidth = kWide, kPixels = kHeight * kWidth;
  static constexpr int kPacks = C / 8;  // of 16 bytes
  /// Elements from pixel to pixel: with 16 bytes between them eight neighbours lie in banks of their own.
  static constexpr int kStride = C + 8;
  static constexpr int kBorderedWidth = kWidth + 2, kBordered = (kHeight + 2) * kBorderedWidth;

  /// Where pixel `p` of the tile is in a tile with a border, for tap 0.
  static __device__ int bordered(int p) { return (p / kWidth * kBorderedWidth + p % kWidth) * kStride; }
  static __device__ int shift(int tap) { return (tap / 3 * kBorderedWidth + tap % 3) * kStride; }
};

/// Images [n, h, w, C] cut into tiles. An image has fewer than 2³¹ elements, the batch fewer tiles.
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

/// One of the tiles: its image, and its first pixel there.
template <int C, class Tile>
struct TilePlace {
  int64_t image;  // where it begins in the batch
  int top, left;

  __device__ TilePlace(const TiledImages& s, unsigned tile) {
    const unsigned i = tile / s.of_image, inside = tile - i * s.of_image, row = inside / s.across;
    image = static_cast<int64_t>(i) * s.h * s.w * C;
    top = static_cast<int>(row) * Tile::kHeight;
    left = static_cast<int>(inside - row * s.across) * Tile::kWidth;
  }
};

/// Begins to copy the tile with kBorder pixels around it; 0 where the image has none.
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
