// random_crop_box: torchvision's RandomResizedCrop, a crop of random area and aspect ratio, resized to a fixed size.
//
//   const CropBox box = random_crop_box({image.height, image.width}, {}, Philox(seed, streams::kResizedCrop), counter);
//   Image input = resize(crop(image, box), 224, 224);
#pragma once

#include <fulcrum/core/random.h>
#include <fulcrum/data/resize.h>

namespace fulcrum {

struct ResizedCropOptions {
  double min_scale = 0.08, max_scale = 1;           // fraction of the image's area, in (0, 1]
  double min_ratio = 3.0 / 4, max_ratio = 4.0 / 3;  // width over height
};

/// Draws a box: the area is uniform in the range of scale, the aspect ratio log-uniform in the range of ratio, and
/// the position uniform among those where the box fits. If ten draws do not fit, returns the largest centred box with
/// the nearest allowed ratio. Depends only on the size, the options and (philox, counter).
CropBox random_crop_box(ImageSize size, const ResizedCropOptions& options, const Philox& philox, uint64_t counter);

/// Converts a box of the full image to one of the image as it was reduced during decoding; never empty.
CropBox scaled_box(const CropBox& box, ImageSize full, ImageSize reduced);

}  // namespace fulcrum
