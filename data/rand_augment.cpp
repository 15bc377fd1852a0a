#include <fulcrum/data/rand_augment.h>

#include <cmath>
#include <utility>

#include <fulcrum/core/check.h>
#include <fulcrum/data/image_ops.h>

namespace fulcrum {

namespace {

/// Element `magnitude` of torch.linspace(0, last, kRandAugmentBins), in f32 like torch.
double level(int64_t magnitude, double last) {
  const float step = static_cast<float>(last) / static_cast<float>(kRandAugmentBins - 1);
  if (magnitude < kRandAugmentBins / 2) return static_cast<double>(step * static_cast<float>(magnitude));
  return static_cast<double>(static_cast<float>(last) - step * static_cast<float>(kRandAugmentBins - 1 - magnitude));
}

constexpr double kMaxShear = 0.3, kMaxDegrees = 30, kMaxFactor = 0.9, kMaxMove = 150.0 / 331;

}  // namespace

Image apply_rand_augment(Image image, RandAugmentOp op, int64_t magnitude, bool negative) {
  check(magnitude >= 0 && magnitude < kRandAugmentBins, "[rand_augment] expected a magnitude of 0 to ",
        kRandAugmentBins - 1, ", got ", magnitude);
  const double sign = negative ? -1 : 1;
  const auto move = [&](int64_t side) {
    return std::trunc(sign * level(magnitude, kMaxMove * static_cast<double>(side)));
  };
  const double factor = 1 + sign * level(magnitude, kMaxFactor);
  switch (op) {
    case RandAugmentOp::kIdentity: break;
    case RandAugmentOp::kShearX: return affine(image, shear_x(sign * level(magnitude, kMaxShear)));
    case RandAugmentOp::kShearY: return affine(image, shear_y(sign * level(magnitude, kMaxShear)));
    case RandAugmentOp::kTranslateX: return affine(image, translation(move(image.width), 0));
    case RandAugmentOp::kTranslateY: return affine(image, translation(0, move(image.height)));
    case RandAugmentOp::kRotate: return rotate(image, sign * level(magnitude, kMaxDegrees));
    case RandAugmentOp::kBrightness: adjust_brightness(image, factor); break;
    case RandAugmentOp::kColor: adjust_saturation(image, factor); break;
    case RandAugmentOp::kContrast: adjust_contrast(image, factor); break;
    case RandAugmentOp::kSharpness: adjust_sharpness(image, factor); break;
    // lrint rounds halves to even, like torch.round.
    case RandAugmentOp::kPosterize:
      posterize(image, 8 - static_cast<int>(std::lrint(static_cast<double>(magnitude) * 4 / (kRandAugmentBins - 1))));
      break;
    case RandAugmentOp::kSolarize: solarize(image, 255 * (1 - level(magnitude, 1))); break;
    case RandAugmentOp::kAutoContrast: autocontrast(image); break;
    case RandAugmentOp::kEqualize: equalize(image); break;
    case RandAugmentOp::kCount: fail("[rand_augment] expected an operation, got their number");
  }
  return image;
}

Image rand_augment(Image image, const RandAugmentOptions& o, const Philox& philox, uint64_t counter) {
  constexpr auto kCount = static_cast<uint32_t>(RandAugmentOp::kCount);
  for (int64_t i = 0; i < o.ops; i++) {
    const Words4 words = philox.block(counter * kMaxRandAugmentOps + static_cast<uint64_t>(i));
    const auto op = static_cast<RandAugmentOp>(Philox::scale(words.w[0], kCount));
    image = apply_rand_augment(std::move(image), op, o.magnitude, (words.w[1] & 1u) != 0);
  }
  return image;
}

}  // namespace fulcrum
