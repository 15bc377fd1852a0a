// What the kernels of conv3x3.h share: tiles of pixels of an image in shared memory, with a border of one pixel, of which
// a tap of the convolution takes a shifted part.
#pragma once

#include <fulcrum/core/cuda/packs.cuh>
#include <fulcrum/core/cuda/tensor_cores.cuh>

namespace fulcrum::cuda {

inline constexpr int kTaps = 9;

template <int C>
struct PixelTile {
  static constexpr int kHeight = 8, kWidth = C == 64 ? 8 : 16, kPixels = kHeight * kWidth;
  static constexpr int kPacks = C / 8;
  /// Elements from pixel to pixel: with 16 bytes between them eight neighbours lie in banks of their own.
  static constexpr int kStride = C + 8;
  static constexpr int kBorderedWidth = kWidth + 2, kBordered = (kHeight + 2) * kBorderedWidth;

  /// Where pixel `p` of the tile is in a tile with a border, for tap 0.
  static __device__ int bordered(int p) { return (p / kWidth * kBorderedWidth + p % kWidth) * kStride; }
  static __device__ int shift(int tap) { return (tap / 3 * kBorderedWidth + tap % 3) * kStride; }
};

/// Images [n, h, w, C] cut into tiles.
struct TiledImages {
  int64_t h, w, tiles_down, tiles_across, tiles;

  TiledImages(int64_t n, int64_t h_, int64_t w_, int height, int width)
      : h(h_),
        w(w_),
        tiles_down((h + height - 1) / height),
        tiles_across((w + width - 1) / width),
        tiles(n * tiles_down * tiles_across) {}
};

/// One of the tiles: its image, and its first pixel there.
template <int C>
struct TilePlace {
  int64_t image;
  int top, left;

  __device__ TilePlace(const TiledImages& s, int64_t tile)
      : image(tile / (s.tiles_down * s.tiles_across)),
        top(static_cast<int>(tile / s.tiles_across % s.tiles_down) * PixelTile<C>::kHeight),
        left(static_cast<int>(tile % s.tiles_across) * PixelTile<C>::kWidth) {}
};

/// Copies the tile with kBorder pixels around it; 0 where the image has none.
template <int C, int kBorder>
__device__ void load_tile(bf16* shared, const bf16* x, const TiledImages& s, const TilePlace<C>& place) {
  using T = PixelTile<C>;
  constexpr int kWidth = T::kWidth + 2 * kBorder, kCount = (T::kHeight + 2 * kBorder) * kWidth * T::kPacks;
  for (int i = static_cast<int>(threadIdx.x); i < kCount; i += static_cast<int>(blockDim.x)) {
    const int pack = i % T::kPacks, pixel = i / T::kPacks;
    const int row = place.top + pixel / kWidth - kBorder, column = place.left + pixel % kWidth - kBorder;
    Pack<uint32_t, 4> in{};
    if (row >= 0 && row < s.h && column >= 0 && column < s.w)
      in = *reinterpret_cast<const Pack<uint32_t, 4>*>(x + ((place.image * s.h + row) * s.w + column) * C + pack * 8);
    *reinterpret_cast<Pack<uint32_t, 4>*>(shared + pixel * T::kStride + pack * 8) = in;
  }
}

}  // namespace fulcrum::cuda
