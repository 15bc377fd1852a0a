#include <fulcrum/data/resize.h>

#include <algorithm>
#include <cmath>

#include <fulcrum/core/check.h>

namespace fulcrum {

namespace {

constexpr int kPrecisionBits = 32 - 8 - 2;  // PIL's: sums of products with u8 stay in an i32

/// The source pixels of one output position: `count` of them from `first` on.
struct Window {
  int64_t first = 0, count = 0;
};

/// For each output position its window and weights; the weights of position i start at i · taps.
struct Filter {
  std::vector<Window> windows;
  std::vector<int32_t> weights;
  int64_t taps = 0;
};

int32_t to_fixed(double weight) {
  // Triangle weights are never negative.
  return static_cast<int32_t>(0.5 + weight * (1 << kPrecisionBits));
}

Filter triangle_filter(int64_t in, int64_t out) {
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  const double support = std::max(scale, 1.0);
  Filter filter;
  filter.taps = static_cast<int64_t>(std::ceil(support)) * 2 + 1;
  filter.weights.resize(static_cast<size_t>(out * filter.taps));
  std::vector<double> weights(static_cast<size_t>(filter.taps));
  for (int64_t i = 0; i < out; i++) {
    const double center = (static_cast<double>(i) + 0.5) * scale;
    const int64_t first = std::max(int64_t{0}, static_cast<int64_t>(center - support + 0.5));
    const int64_t end = std::min(in, static_cast<int64_t>(center + support + 0.5));
    double sum = 0;
    for (int64_t k = 0; k < end - first; k++) {
      const double distance = (static_cast<double>(k + first) - center + 0.5) * (1.0 / support);
      weights[static_cast<size_t>(k)] = std::max(0.0, 1.0 - std::abs(distance));
      sum += weights[static_cast<size_t>(k)];
    }
    for (int64_t k = 0; k < end - first; k++)
      filter.weights[static_cast<size_t>(i * filter.taps + k)] =
          to_fixed(weights[static_cast<size_t>(k)] / sum);
    filter.windows.push_back({first, end - first});
  }
  return filter;
}

uint8_t to_byte(int32_t sum) {
  return static_cast<uint8_t>(std::clamp(sum >> kPrecisionBits, 0, 255));
}

constexpr int32_t kHalf = 1 << (kPrecisionBits - 1);

Image resize_columns(const Image& image, int64_t width) {
  const Filter filter = triangle_filter(image.width, width);
  const int64_t c = image.channels;
  Image out = {image.height, width, c, {}};
  out.pixels.resize(static_cast<size_t>(image.height * width * c));
  uint8_t* to = out.pixels.data();
  for (int64_t y = 0; y < image.height; y++) {
    const uint8_t* row = image.pixels.data() + y * image.width * c;
    for (int64_t x = 0; x < width; x++) {
      const Window& window = filter.windows[static_cast<size_t>(x)];
      const int32_t* weights = filter.weights.data() + x * filter.taps;
      for (int64_t channel = 0; channel < c; channel++) {
        int32_t sum = kHalf;
        for (int64_t k = 0; k < window.count; k++)
          sum += row[(window.first + k) * c + channel] * weights[k];
        *to++ = to_byte(sum);
      }
    }
  }
  return out;
}

Image resize_rows(const Image& image, int64_t height) {
  const Filter filter = triangle_filter(image.height, height);
  const int64_t row_bytes = image.width * image.channels;
  Image out = {height, image.width, image.channels, {}};
  out.pixels.resize(static_cast<size_t>(height * row_bytes));
  std::vector<int32_t> sums(static_cast<size_t>(row_bytes));
  for (int64_t y = 0; y < height; y++) {
    const Window& window = filter.windows[static_cast<size_t>(y)];
    std::ranges::fill(sums, kHalf);
    for (int64_t k = 0; k < window.count; k++) {
      const int32_t weight = filter.weights[static_cast<size_t>(y * filter.taps + k)];
      const uint8_t* row = image.pixels.data() + (window.first + k) * row_bytes;
      for (size_t i = 0; i < sums.size(); i++) sums[i] += row[i] * weight;
    }
    uint8_t* to = out.pixels.data() + y * row_bytes;
    for (size_t i = 0; i < sums.size(); i++) to[i] = to_byte(sums[i]);
  }
  return out;
}

}  // namespace

Image resize(const Image& image, int64_t height, int64_t width) {
  check(height >= 1 && width >= 1 && height <= kMaxImagePixels / width,
        "[resize] expected a size of 1 to ", kMaxImagePixels, " pixels, got ", height, "x", width);
  check(image.height <= kMaxImagePixels / width, "[resize] expected a width that makes at most ",
        kMaxImagePixels, " pixels of ", image.height, " rows, got ", width);
  Image columns;
  const Image* source = &image;
  if (width != image.width) source = &(columns = resize_columns(image, width));
  return height != image.height ? resize_rows(*source, height) : *source;
}

Image crop(const Image& image, const CropBox& box) {
  check(box.top >= 0 && box.left >= 0 && box.height >= 1 && box.width >= 1 && box.top <= image.height - box.height &&
            box.left <= image.width - box.width,
        "[crop] expected a box in an image of ", image.height, "x", image.width, ", got ", box.height, "x", box.width,
        " at row ", box.top, ", column ", box.left);
  const int64_t c = image.channels;
  Image out = {box.height, box.width, c, {}};
  out.pixels.reserve(static_cast<size_t>(box.height * box.width * c));
  for (int64_t y = 0; y < box.height; y++) {
    const uint8_t* row = image.pixels.data() + ((box.top + y) * image.width + box.left) * c;
    out.pixels.insert(out.pixels.end(), row, row + box.width * c);
  }
  return out;
}

Image resize_shorter(const Image& image, int64_t size) {
  const int64_t shorter = std::min(image.height, image.width);
  const int64_t longer = std::max(image.height, image.width);
  // In Python int(size * longer / shorter): a division of floats, cut.
  const auto scaled =
      static_cast<int64_t>(static_cast<double>(size * longer) / static_cast<double>(shorter));
  return image.width <= image.height ? resize(image, scaled, size) : resize(image, size, scaled);
}

Image center_crop(const Image& image, int64_t size) {
  check(size >= 1 && size <= image.height && size <= image.width,
        "[center_crop] expected a size of 1 to that of the image, ", image.height, "x", image.width,
        ", got ", size);
  const auto offset = [&](int64_t extent) {
    return std::lrint(static_cast<double>(extent - size) / 2.0);  // to even, the default mode
  };
  return crop(image, {offset(image.height), offset(image.width), size, size});
}

}  // namespace fulcrum
