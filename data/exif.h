// exif_orientation, oriented: reads the orientation from a JPEG's EXIF data and turns the image upright. Internal to
// data/.
//
//   Image upright = oriented(image, exif_orientation(file));
#pragma once

#include <cstdint>
#include <span>

#include <fulcrum/data/image_file.h>

namespace fulcrum {

/// Returns the orientation tag (0x0112) of the first EXIF segment, 1 to 8. Returns 1 (upright) if it is missing or
/// malformed: bad metadata must not make an image unreadable.
int exif_orientation(std::span<const uint8_t> jpeg);

/// Rotates and mirrors the image as PIL's ImageOps.exif_transpose does.
Image oriented(Image image, int orientation);

}  // namespace fulcrum
