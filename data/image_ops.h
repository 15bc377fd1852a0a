// Colour operations and affine maps of u8 images, as in PIL's ImageEnhance, ImageOps and Image.transform.
//
//   adjust_contrast(image, 1.4);
//   image = affine(image, shear_x(0.3));
//
// Images have one or three channels. Saturation and hue of grey images do not change, as in PIL.
#pragma once

#include <array>

#include <fulcrum/data/image_file.h>

namespace fulcrum {

/// PIL's L of an RGB pixel: the ITU-R 601-2 luma in 16 bits.
inline uint8_t luma(const uint8_t* rgb) {
  return static_cast<uint8_t>((rgb[0] * 19595 + rgb[1] * 38470 + rgb[2] * 7471 + 0x8000) >> 16);
}

/// Blend the image with another: black, its mean grey, its grey version, and a smoothed version, respectively.
/// Factor 0 gives the other image, 1 the image itself; factors above 1 extrapolate. Factors must be at least 0.
void adjust_brightness(Image& image, double factor);
void adjust_contrast(Image& image, double factor);
void adjust_saturation(Image& image, double factor);
void adjust_sharpness(Image& image, double factor);
/// Shifts the hue by `turn`, a fraction of the colour circle in [−0.5, 0.5], through PIL's 8-bit HSV.
void adjust_hue(Image& image, double turn);

/// Keeps the upper `bits` bits (0 to 8) of each value.
void posterize(Image& image, int bits);
/// Inverts values of at least `threshold`.
void solarize(Image& image, double threshold);
/// Stretches each channel to 0 … 255.
void autocontrast(Image& image);
/// Equalises each channel's histogram.
void equalize(Image& image);

/// The source position of the output pixel (x, y): x' = m[0]·x + m[1]·y + m[2], y' = m[3]·x + m[4]·y + m[5], where
/// all positions are of pixel centres.
using AffineMap = std::array<double, 6>;
/// x' = x + tangent·y: torchvision's shear about the corner.
AffineMap shear_x(double tangent);
AffineMap shear_y(double tangent);
/// Moves the image by x pixels to the right and y pixels down.
AffineMap translation(double x, double y);
/// Applies the map with nearest-neighbour sampling in 16.16 fixed point; pixels from outside the source are 0.
Image affine(const Image& image, const AffineMap& map);
/// Rotates counter-clockwise about the centre, with the same sampling: PIL's Image.rotate.
Image rotate(const Image& image, double degrees);

}  // namespace fulcrum
