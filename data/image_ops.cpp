#include <fulcrum/data/image_ops.h>

#include <algorithm>
#include <cmath>
#include <cstddef>

#include <fulcrum/core/augment_rules.h>
#include <fulcrum/core/check.h>

namespace fulcrum {

namespace {

constexpr size_t kValues = 256;
using Table = std::array<uint8_t, kValues>;

uint8_t clip(int v) { return static_cast<uint8_t>(std::clamp(v, 0, 255)); }

/// other + factor·(own − other), computed in f32, clamped and truncated, as in PIL's Image.blend.
uint8_t blended(uint8_t other, uint8_t own, float factor) {
  const float v = static_cast<float>(other) + factor * static_cast<float>(own - other);
  return v <= 0 ? uint8_t{0} : v >= 255 ? uint8_t{255} : static_cast<uint8_t>(v);
}

void blend_with(Image& image, uint8_t other, double factor) {
  Table table;
  for (size_t v = 0; v < kValues; v++) table[v] = blended(other, static_cast<uint8_t>(v), static_cast<float>(factor));
  for (uint8_t& pixel : image.pixels) pixel = table[pixel];
}

void check_factor(const char* op, double factor) {
  check(factor >= 0 && std::isfinite(factor), "[", op, "] expected a factor of at least 0, got ", factor);
}

template <class F>
void for_each_pixel(Image& image, F&& f) {
  const auto channels = static_cast<size_t>(image.channels);
  for (size_t i = 0; i < image.pixels.size(); i += channels) f(&image.pixels[i]);
}

/// Maps the values of channel c through the table.
void look_up(Image& image, size_t c, const Table& table) {
  for_each_pixel(image, [&](uint8_t* pixel) { pixel[c] = table[pixel[c]]; });
}

std::array<int64_t, kValues> histogram(const Image& image, size_t c) {
  std::array<int64_t, kValues> counts{};
  for (size_t i = c; i < image.pixels.size(); i += static_cast<size_t>(image.channels)) counts[image.pixels[i]]++;
  return counts;
}

// Pillow's ImagingFilter3x3 with ImageFilter.SMOOTH; border pixels do not change.
Image smoothed(const Image& image) {
  Image out = image;
  const auto row = static_cast<ptrdiff_t>(image.width * image.channels),
             channels = static_cast<ptrdiff_t>(image.channels);
  constexpr float kSide = 1.0f / 13, kMiddle = 5.0f / 13;
  const auto three = [&](const uint8_t* p, float middle) {
    return static_cast<float>(p[-channels]) * kSide + static_cast<float>(p[0]) * middle +
           static_cast<float>(p[channels]) * kSide;
  };
  for (ptrdiff_t y = 1; y + 1 < image.height; y++)
    for (ptrdiff_t i = channels; i < row - channels; i++) {
      const uint8_t* p = &image.pixels[static_cast<size_t>(y * row + i)];
      const float sum = 0.5f + three(p + row, kSide) + three(p, kMiddle) + three(p - row, kSide);
      out.pixels[static_cast<size_t>(y * row + i)] = sum >= 255 ? uint8_t{255} : static_cast<uint8_t>(sum);
    }
  return out;
}

struct Hsv {
  uint8_t h, s, v;
};

// Pillow's rgb2hsv_row and, in to_rgb(), hsv2rgb; f32 and double are used where Pillow uses them.
Hsv hsv_of(const uint8_t* rgb) {
  const uint8_t r = rgb[0], g = rgb[1], b = rgb[2];
  const uint8_t most = std::max({r, g, b}), least = std::min({r, g, b});
  if (most == least) return {0, 0, most};
  const auto range = static_cast<float>(most - least);
  const float rc = static_cast<float>(most - r) / range, gc = static_cast<float>(most - g) / range,
              bc = static_cast<float>(most - b) / range;
  const float h = r == most ? bc - gc
                            : static_cast<float>(g == most ? 2.0 + static_cast<double>(rc) - static_cast<double>(bc)
                                                           : 4.0 + static_cast<double>(gc) - static_cast<double>(rc));
  const auto turn = static_cast<float>(std::fmod(static_cast<double>(h) / 6.0 + 1.0, 1.0));
  const float s = range / static_cast<float>(most);
  return {clip(static_cast<int>(static_cast<double>(turn) * 255.0)),
          clip(static_cast<int>(static_cast<double>(s) * 255.0)), most};
}

void to_rgb(const Hsv& in, uint8_t* rgb) {
  const auto set = [&](uint8_t r, uint8_t g, uint8_t b) { rgb[0] = r, rgb[1] = g, rgb[2] = b; };
  if (in.s == 0) return set(in.v, in.v, in.v);
  const double sixth = static_cast<double>(static_cast<float>(in.h)) * 6.0 / 255.0;
  const int i = static_cast<int>(std::floor(sixth));
  const double f = static_cast<float>(sixth - static_cast<double>(static_cast<float>(i)));
  const double s = static_cast<float>(in.s) / 255.0f, v = in.v;
  const auto level = [&](double share) { return clip(static_cast<int>(std::round(v * share))); };
  const uint8_t p = level(1.0 - s), q = level(1.0 - s * f), t = level(1.0 - s * (1.0 - f));
  switch (i % 6) {
    case 0: return set(in.v, t, p);
    case 1: return set(q, in.v, p);
    case 2: return set(p, in.v, t);
    case 3: return set(p, q, in.v);
    case 4: return set(t, p, in.v);
    default: return set(in.v, p, q);
  }
}

}  // namespace

void adjust_brightness(Image& image, double factor) {
  check_factor("adjust_brightness", factor);
  blend_with(image, 0, factor);
}

void adjust_contrast(Image& image, double factor) {
  check_factor("adjust_contrast", factor);
  uint64_t sum = 0;
  for_each_pixel(image, [&](const uint8_t* pixel) { sum += image.channels == 3 ? luma(pixel) : pixel[0]; });
  const double mean = static_cast<double>(sum) / static_cast<double>(image.height * image.width);
  blend_with(image, static_cast<uint8_t>(std::floor(mean + 0.5)), factor);
}

void adjust_saturation(Image& image, double factor) {
  check_factor("adjust_saturation", factor);
  if (image.channels != 3) return;
  for_each_pixel(image, [&, f = static_cast<float>(factor)](uint8_t* pixel) {
    const uint8_t grey = luma(pixel);
    for (int c = 0; c < 3; c++) pixel[c] = blended(grey, pixel[c], f);
  });
}

void adjust_sharpness(Image& image, double factor) {
  check_factor("adjust_sharpness", factor);
  const Image smooth = smoothed(image);
  for (size_t i = 0; i < image.pixels.size(); i++)
    image.pixels[i] = blended(smooth.pixels[i], image.pixels[i], static_cast<float>(factor));
}

void adjust_hue(Image& image, double turn) {
  check(turn >= -0.5 && turn <= 0.5, "[adjust_hue] expected a turn in [-0.5, 0.5], got ", turn);
  if (image.channels != 3) return;
  const auto shift = static_cast<int>(turn * 255);  // truncates towards zero, as torchvision does
  for_each_pixel(image, [&](uint8_t* pixel) {
    Hsv hsv = hsv_of(pixel);
    hsv.h = static_cast<uint8_t>(hsv.h + shift);  // wraps around the colour circle
    to_rgb(hsv, pixel);
  });
}

void posterize(Image& image, int bits) {
  check(bits >= 0 && bits <= 8, "[posterize] expected 0 to 8 bits, got ", bits);
  const auto mask = static_cast<uint8_t>(~((1 << (8 - bits)) - 1));
  for (uint8_t& pixel : image.pixels) pixel &= mask;
}

void solarize(Image& image, double threshold) {
  for (uint8_t& pixel : image.pixels)
    if (pixel >= threshold) pixel = static_cast<uint8_t>(255 - pixel);
}

void autocontrast(Image& image) {
  for (size_t c = 0; c < static_cast<size_t>(image.channels); c++) {
    const auto counts = histogram(image, c);
    size_t low = 0, high = kValues - 1;
    while (low < high && counts[low] == 0) low++;
    while (high > low && counts[high] == 0) high--;
    if (high <= low) continue;
    const double scale = 255.0 / static_cast<double>(high - low), offset = -static_cast<double>(low) * scale;
    Table table;
    for (size_t v = 0; v < kValues; v++) table[v] = clip(static_cast<int>(static_cast<double>(v) * scale + offset));
    look_up(image, c, table);
  }
}

void equalize(Image& image) {
  for (size_t c = 0; c < static_cast<size_t>(image.channels); c++) {
    const auto counts = histogram(image, c);
    size_t last = kValues - 1;
    while (last > 0 && counts[last] == 0) last--;
    const int64_t step = (image.height * image.width - counts[last]) / 255;
    if (step == 0) continue;
    Table table;
    int64_t n = step / 2;
    for (size_t v = 0; v < kValues; v++) {
      table[v] = static_cast<uint8_t>(std::min<int64_t>(n / step, 255));
      n += counts[v];
    }
    look_up(image, c, table);
  }
}

AffineMap shear_x(double tangent) { return {1, tangent, 0, 0, 1, 0}; }
AffineMap shear_y(double tangent) { return {1, 0, 0, tangent, 1, 0}; }
AffineMap translation(double x, double y) { return {1, 0, -x, 0, 1, -y}; }

namespace {

Image mapped(const Image& image, const Rotation& map) {
  Image out = {image.height, image.width, image.channels, std::vector<uint8_t>(image.pixels.size())};
  uint8_t* to = out.pixels.data();
  for (int64_t y = 0; y < image.height; y++)
    for (int64_t x = 0; x < image.width; x++, to += image.channels) {
      const int64_t from_x = (x * map.xx + y * map.xy + map.x0) >> 16,
                    from_y = (x * map.yx + y * map.yy + map.y0) >> 16;
      if (from_x < 0 || from_x >= image.width || from_y < 0 || from_y >= image.height) continue;
      std::copy_n(&image.pixels[static_cast<size_t>((from_y * image.width + from_x) * image.channels)], image.channels,
                  to);
    }
  return out;
}

}  // namespace

Image affine(const Image& image, const AffineMap& m) {
  Rotation map;
  map.xx = Rotation::fixed(m[0]);
  map.xy = Rotation::fixed(m[1]);
  map.x0 = Rotation::fixed(m[2] + (m[0] + m[1]) * 0.5);
  map.yx = Rotation::fixed(m[3]);
  map.yy = Rotation::fixed(m[4]);
  map.y0 = Rotation::fixed(m[5] + (m[3] + m[4]) * 0.5);
  return mapped(image, map);
}

Image rotate(const Image& image, double degrees) {
  return degrees == 0 ? image : mapped(image, Rotation(degrees, image.height, image.width));
}

}  // namespace fulcrum
