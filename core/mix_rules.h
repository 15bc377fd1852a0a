// How Mixup and CutMix combine two pixels: the rule that the CPU and CUDA kernels share.
//
//   const MixRule rule(plan, batch, b);
//   y = rule.in_box(row, column) ? x_before : rule.mixed(x_own, x_before);
//
// One rule serves both: Mixup has an empty box; CutMix has a pixel share of 1 outside the box.
#pragma once

#include <cmath>
#include <cstdint>

#include <fulcrum/core/types.h>

namespace fulcrum {

/// Rows of a plan i64 [kMixRows, B]. The box holds rows [top, bottom) and columns [left, right).
enum MixRow : int64_t {
  kPixelShare = 0,  // weight of the own pixels outside the box, in units of 1/kMixUnit
  kLabelShare = 1,  // weight of the own label, in the same units
  kMixTop = 2,
  kMixLeft = 3,
  kMixBottom = 4,
  kMixRight = 5,
  kMixRows = 6
};
/// Shares are whole multiples of 1/kMixUnit, which f32 holds exactly.
inline constexpr int64_t kMixUnit = int64_t{1} << 24;

struct MixRule {
  float pixel_share, label_share;
  int64_t top, left, bottom, right;

  FULCRUM_HD MixRule(const int64_t* plan, int64_t batch, int64_t b)
      : pixel_share(share(plan[kPixelShare * batch + b])),
        label_share(share(plan[kLabelShare * batch + b])),
        top(plan[kMixTop * batch + b]),
        left(plan[kMixLeft * batch + b]),
        bottom(plan[kMixBottom * batch + b]),
        right(plan[kMixRight * batch + b]) {}

  FULCRUM_HD bool in_box(int64_t row, int64_t column) const {
    return row >= top && row < bottom && column >= left && column < right;
  }
  /// An explicit fma, so that all devices round alike: no multiply-add is left that a compiler might or might not fuse.
  FULCRUM_HD float mixed(float own, float before) const {
    return std::fma(pixel_share, own, (1 - pixel_share) * before);
  }
  FULCRUM_HD static float share(int64_t units) { return static_cast<float>(units) / static_cast<float>(kMixUnit); }
};

}  // namespace fulcrum
