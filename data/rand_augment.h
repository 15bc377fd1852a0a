// RandAugment as torchvision's: a few operations drawn from fourteen, all of one magnitude.
// Cubuk, Zoph, Shlens, Le: RandAugment, NeurIPS 2020, arXiv 1909.13719.
//
//   image = rand_augment(std::move(image), {.ops = 2, .magnitude = 9}, Philox(seed, streams::kRandAugment), counter);
#pragma once

#include <fulcrum/core/random.h>
#include <fulcrum/data/image_file.h>

namespace fulcrum {

/// Magnitudes are 0 to kRandAugmentBins − 1.
inline constexpr int64_t kRandAugmentBins = 31;
/// Operations a sample at most.
inline constexpr int64_t kMaxRandAugmentOps = 16;

struct RandAugmentOptions {
  int64_t ops = 0;  // one after the other; 0: none
  int64_t magnitude = 9;
};

/// In the order of torchvision's table.
enum class RandAugmentOp {
  kIdentity,
  kShearX,
  kShearY,
  kTranslateX,
  kTranslateY,
  kRotate,
  kBrightness,
  kColor,
  kContrast,
  kSharpness,
  kPosterize,
  kSolarize,
  kAutoContrast,
  kEqualize,
  kCount
};

/// One operation; `negative` turns round those that have a sign: shears, moves, the rotation, and whether
/// brightness, colour, contrast and sharpness grow or shrink. Zeros where a moved image leaves nothing.
Image apply_rand_augment(Image image, RandAugmentOp op, int64_t magnitude, bool negative);

/// A function of the image and of (options, philox, counter) alone.
Image rand_augment(Image image, const RandAugmentOptions& options, const Philox& philox, uint64_t counter);

}  // namespace fulcrum
