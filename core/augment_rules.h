// Where a pixel of an augmented image comes from: the geometry that the CPU and CUDA kernels share.
//
//   const AugmentDraw draw(o, philox.block(counter), h, w);      // once for an image
//   int64_t y = i, x = j;                                        // output row and column
//   const bool inside = draw.to_source(y, x, h, w);              // else the pixel is 0
//
// The order is that of torchvision's RandomCrop(padding), RandomHorizontalFlip, RandomRotation, and after normalisation
// RandomErasing:
//
//   const Erased gone(o, counter, h, w);
//   if (gone.contains(i, j)) …                                   // 0 in place of the pixel
#pragma once

#include <cmath>

#include <fulcrum/core/kernel_types.h>
#include <fulcrum/core/random.h>

namespace fulcrum {

/// Rotation of an image about its centre with nearest-pixel sampling; a positive angle turns it counter-clockwise.
/// Output pixel (x, y) is read from x' = (x·xx + y·xy + x0) >> 16 and y' likewise. The arithmetic is Pillow's 16.16
/// fixed point (Image.rotate), so the result equals Pillow's pixel by pixel, on every device.
struct Rotation {
  int64_t xx = 0, xy = 0, x0 = 0, yx = 0, yy = 0, y0 = 0;

  FULCRUM_HD Rotation() = default;
  FULCRUM_HD Rotation(double degrees, int64_t h, int64_t w) {
    const double radians = degrees * (3.14159265358979323846 / 180);
    const double c = std::cos(radians), s = std::sin(radians);
    const double middle_x = static_cast<double>(w) / 2, middle_y = static_cast<double>(h) / 2;
    xx = yy = fixed(c);
    xy = fixed(-s);
    yx = fixed(s);
    // Where the centre of output pixel (0, 0) comes from.
    x0 = fixed(middle_x - c * middle_x + s * middle_y + (c - s) * 0.5);
    y0 = fixed(middle_y - s * middle_x - c * middle_y + (s + c) * 0.5);
  }

  FULCRUM_HD static int64_t fixed(double v) { return static_cast<int64_t>(std::floor(v * 65536 + 0.5)); }
};

/// The random choices for one image, drawn from one Philox block.
struct AugmentDraw {
  int64_t shift_y, shift_x;  // offset of the crop, in [−pad, pad]
  bool flip, rotates;
  Rotation rotation;

  FULCRUM_HD AugmentDraw(const AugmentOptions& o, const Words4& words, int64_t h, int64_t w) {
    const auto shifts = static_cast<uint32_t>(2 * o.pad + 1);
    shift_y = static_cast<int64_t>(Philox::scale(words.w[0], shifts)) - o.pad;
    shift_x = static_cast<int64_t>(Philox::scale(words.w[1], shifts)) - o.pad;
    flip = o.flip && (words.w[2] & 1u);
    rotates = o.rotation > 0;
    if (rotates) rotation = Rotation(angle(o, words), h, w);
  }

  /// Uniform in [−rotation, rotation), degrees.
  FULCRUM_HD static double angle(const AugmentOptions& o, const Words4& words) {
    return (2 * static_cast<double>(Philox::to_uniform(words.w[3])) - 1) * o.rotation;
  }

  /// Replaces the row and column of an output pixel by its source's. Returns false if those are outside the image.
  FULCRUM_HD bool to_source(int64_t& y, int64_t& x, int64_t h, int64_t w) const {
    if (rotates) {
      const int64_t column = x, row = y;
      x = (column * rotation.xx + row * rotation.xy + rotation.x0) >> 16;
      y = (column * rotation.yx + row * rotation.yy + rotation.y0) >> 16;
      if (x < 0 || x >= w || y < 0 || y >= h) return false;
    }
    y += shift_y;
    x = (flip ? w - 1 - x : x) + shift_x;
    return x >= 0 && x < w && y >= 0 && y < h;
  }
};

/// The rectangle that random erasing takes from one image; empty if it takes none.
struct Erased {
  int64_t top = 0, left = 0, height = 0, width = 0;

  /// As torchvision draws it: the first of ten attempts that fits into the image.
  FULCRUM_HD Erased(const AugmentOptions& o, int64_t counter, int64_t h, int64_t w) {
    constexpr uint64_t kAttempts = 10, kBlocks = 16;  // the blocks of an image: one for each attempt, and one more
    if (!(o.erase.probability > 0)) return;
    const Philox philox(o.seed, streams::kErase);
    const uint64_t first = static_cast<uint64_t>(counter) * kBlocks;
    if (uniform(philox.block(first + kAttempts).w[0]) >= o.erase.probability) return;
    for (uint64_t attempt = 0; attempt < kAttempts; attempt++) {
      const Words4 words = philox.block(first + attempt);
      const double area = static_cast<double>(h * w) * between(o.erase.area_min, o.erase.area_max, words.w[0]);
      const double ratio = std::exp(between(std::log(o.erase.ratio_min), std::log(o.erase.ratio_max), words.w[1]));
      const auto tall = static_cast<int64_t>(std::floor(std::sqrt(area * ratio) + 0.5));
      const auto wide = static_cast<int64_t>(std::floor(std::sqrt(area / ratio) + 0.5));
      if (tall >= h || wide >= w) continue;
      height = tall, width = wide;
      top = static_cast<int64_t>(Philox::scale(words.w[2], static_cast<uint32_t>(h - tall + 1)));
      left = static_cast<int64_t>(Philox::scale(words.w[3], static_cast<uint32_t>(w - wide + 1)));
      return;
    }
  }

  FULCRUM_HD bool contains(int64_t row, int64_t column) const {
    return row >= top && row < top + height && column >= left && column < left + width;
  }

 private:
  FULCRUM_HD static double uniform(uint32_t word) { return static_cast<double>(Philox::to_uniform(word)); }
  FULCRUM_HD static double between(double low, double high, uint32_t word) {
    return low + (high - low) * uniform(word);
  }
};

}  // namespace fulcrum
