// The orientation that a camera notes in a JPEG, and the image turned accordingly. Internal to data/.
//
//   Image upright = oriented(image, exif_orientation(file));
#pragma once

#include <cstdint>
#include <span>

#include <fulcrum/data/image_file.h>

namespace fulcrum {

/// The orientation tag (0x0112) of the first EXIF segment, 1 to 8; 1, upright, where there is none or it
/// makes no sense: what is said of a picture must not keep it from being read.
int exif_orientation(std::span<const uint8_t> jpeg);

/// As PIL's ImageOps.exif_transpose turns and mirrors it.
Image oriented(Image image, int orientation);

}  // namespace fulcrum
