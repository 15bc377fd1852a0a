// RandomResizedCrop as torchvision's: a part of random area and shape, brought to one size.
//
//   const CropBox box = random_crop_box({image.height, image.width}, {}, Philox(seed, streams::kResizedCrop), counter);
//   Image input = resize(crop(image, box), 224, 224);
#pragma once

#include <fulcrum/core/random.h>
#include <fulcrum/data/resize.h>

namespace fulcrum {

struct ResizedCropOptions {
  double min_scale = 0.08, max_scale = 1;           // of the image's area, in (0, 1]
  double min_ratio = 3.0 / 4, max_ratio = 4.0 / 3;  // width over height
};

/// Ten tries: an area uniform in the range of scale, a ratio log-uniform in that of ratio, then a place
/// uniform among those where the part fits. Where none fits, the middle part with the nearest ratio. A
/// function of the size and of (philox, counter) alone.
CropBox random_crop_box(ImageSize size, const ResizedCropOptions& options, const Philox& philox, uint64_t counter);

/// The box of the full image in one that was reduced when it was decoded; never empty.
CropBox scaled_box(const CropBox& box, ImageSize full, ImageSize reduced);

}  // namespace fulcrum
