// rand_augment: torchvision's RandAugment, a few operations drawn from fourteen, all of the same magnitude.
// Cubuk, Zoph, Shlens, Le: RandAugment, NeurIPS 2020, arXiv 1909.13719.
//
//   image = rand_augment(std::move(image), {.ops = 2, .magnitude = 9}, Philox(seed, streams::kRandAugment), counter);
#pragma once

#include <fulcrum/core/random.h>
#include <fulcrum/data/image_file.h>

namespace fulcrum {

/// Magnitudes are 0 to kRandAugmentBins − 1.
inline constexpr int64_t kRandAugmentBins = 31;
/// The largest number of operations per sample.
inline constexpr int64_t kMaxRandAugmentOps = 16;

struct RandAugmentOptions {
  int64_t ops = 0;  // number of operations, applied one after another; 0: off
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

/// Applies one operation. `negative` reverses the operations that have a direction: shears, translations and the
/// rotation; and for brightness, colour, contrast and sharpness it means less instead of more. Geometric operations
/// fill uncovered pixels with 0.
Image apply_rand_augment(Image image, RandAugmentOp op, int64_t magnitude, bool negative);

/// Applies random operations; depends only on the image and (options, philox, counter).
Image rand_augment(Image image, const RandAugmentOptions& options, const Philox& philox, uint64_t counter);

}  // namespace fulcrum
