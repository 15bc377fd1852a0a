// Colours and affine maps of u8 images, as PIL's ImageEnhance, ImageOps and Image.transform do them.
//
//   adjust_contrast(image, 1.4);
//   image = affine(image, shear_x(0.3));
//
// Images have one or three channels. Of grey images saturation and hue are left alone, as in PIL.
#pragma once

#include <array>

#include <fulcrum/data/image_file.h>

namespace fulcrum {

/// PIL's L of an RGB pixel: the ITU-R 601-2 luma in 16 bits.
inline uint8_t luma(const uint8_t* rgb) {
  return static_cast<uint8_t>((rgb[0] * 19595 + rgb[1] * 38470 + rgb[2] * 7471 + 0x8000) >> 16);
}

/// The image blended with black, with its mean grey, with itself in grey, with itself smoothed: 0 gives the
/// other, 1 the image, more than 1 goes beyond it. Factors are at least 0.
void adjust_brightness(Image& image, double factor);
void adjust_contrast(Image& image, double factor);
void adjust_saturation(Image& image, double factor);
void adjust_sharpness(Image& image, double factor);
/// Turns the hue by this share of the circle, in [−0.5, 0.5], through PIL's 8-bit HSV.
void adjust_hue(Image& image, double turn);

/// Keeps so many upper bits of each value, 0 to 8.
void posterize(Image& image, int bits);
/// Inverts values of at least `threshold`.
void solarize(Image& image, double threshold);
/// Stretches each channel to 0 … 255.
void autocontrast(Image& image);
/// Flattens each channel's histogram.
void equalize(Image& image);

/// Where the output pixel (x, y) comes from: x' = m[0]·x + m[1]·y + m[2], y' = m[3]·x + m[4]·y + m[5], both
/// of the centres of pixels.
using AffineMap = std::array<double, 6>;
/// x' = x + tangent·y: torchvision's shear about the corner.
AffineMap shear_x(double tangent);
AffineMap shear_y(double tangent);
/// The image moves by so many pixels to the right and down.
AffineMap translation(double x, double y);
/// By the nearest pixel, in 16.16 fixed point; zeros where the source has no pixel.
Image affine(const Image& image, const AffineMap& map);
/// Counter-clockwise about the centre, likewise: PIL's Image.rotate.
Image rotate(const Image& image, double degrees);

}  // namespace fulcrum
