// resize: resizing with antialiasing, bit for bit PIL's Image.resize(…, BILINEAR), and torchvision's
// Resize and CenterCrop based on it.
//
//   Image half = resize(image, 112, 112);
//   Image input = resized_center(image, 256, 224);   // [224, 224, C]
//
// If an image shrinks, the triangle filter is widened by the same factor, so that every source pixel
// contributes. Weights are fixed-point numbers with 22 fractional bits. The width is resized first, rounded to u8,
// then the height.
#pragma once

#include <fulcrum/data/image_file.h>

namespace fulcrum {

/// A part of an image.
struct CropBox {
  int64_t top = 0, left = 0, height = 0, width = 0;
  friend bool operator==(const CropBox&, const CropBox&) = default;
};

/// Cuts out a box. Throws Error unless it lies inside the image.
Image crop(const Image& image, const CropBox& box);
/// resize(crop(image, box), height, width) without the intermediate copy; the result reuses `memory`.
Image resized_crop(const Image& image, const CropBox& box, int64_t height, int64_t width,
                   std::vector<uint8_t> memory = {});
Image resize(const Image& image, int64_t height, int64_t width);
/// Resizes the shorter side to `size` and the longer one to int(size · longer / shorter).
Image resize_shorter(const Image& image, int64_t size);
/// Cuts out the central size×size pixels; the image must be at least as large. Offsets of half a pixel are rounded to
/// even, like Python's round.
Image center_crop(const Image& image, int64_t size);
/// The size of the result of resize_shorter.
ImageSize size_of_shorter(const Image& image, int64_t size);
/// crop(resize(image, to.height, to.width), box), computing only the pixels in the box; the result reuses `memory`.
Image resized_part(const Image& image, ImageSize to, const CropBox& box, std::vector<uint8_t> memory = {});
/// center_crop(resize_shorter(image, shorter), size), computing only the remaining pixels; the result reuses `memory`.
Image resized_center(const Image& image, int64_t shorter, int64_t size, std::vector<uint8_t> memory = {});

}  // namespace fulcrum
