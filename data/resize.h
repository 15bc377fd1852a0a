// Resizing with antialiasing, bit for bit PIL's Image.resize(…, BILINEAR), and torchvision's
// Resize and CenterCrop on top of it.
//
//   Image half = resize(image, 112, 112);
//   Image input = resized_center(image, 256, 224);   // [224, 224, C]
//
// Where an image shrinks, the triangle filter is widened by the factor, so that every source pixel
// counts. Weights are 22-bit integers; columns are done before rows, rounding to u8 in between.
#pragma once

#include <fulcrum/data/image_file.h>

namespace fulcrum {

/// A part of an image.
struct CropBox {
  int64_t top = 0, left = 0, height = 0, width = 0;
  friend bool operator==(const CropBox&, const CropBox&) = default;
};

/// The box must lie in the image.
Image crop(const Image& image, const CropBox& box);
/// resize(crop(image, box), height, width) without the copy; the pixels take `memory`.
Image resized_crop(const Image& image, const CropBox& box, int64_t height, int64_t width,
                   std::vector<uint8_t> memory = {});
Image resize(const Image& image, int64_t height, int64_t width);
/// The shorter side becomes `size`, the longer one int(size · longer / shorter).
Image resize_shorter(const Image& image, int64_t size);
/// The middle size×size of an image that is at least as large. Halves of pixels are rounded to
/// even, as Python's round does.
Image center_crop(const Image& image, int64_t size);
/// The size that resize_shorter gives.
ImageSize size_of_shorter(const Image& image, int64_t size);
/// crop(resize(image, to.height, to.width), box) without the pixels that are cut off; the others take `memory`.
Image resized_part(const Image& image, ImageSize to, const CropBox& box, std::vector<uint8_t> memory = {});
/// center_crop(resize_shorter(image, shorter), size) without the pixels that are cut off; the others take `memory`.
Image resized_center(const Image& image, int64_t shorter, int64_t size, std::vector<uint8_t> memory = {});

}  // namespace fulcrum
