#include <fulcrum/data/resize.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include <fulcrum/core/check.h>

#ifdef __AVX512F__
#include <immintrin.h>
#endif

namespace fulcrum {

namespace {

constexpr int kPrecisionBits = 32 - 8 - 2;  // PIL's: sums of products with u8 stay in an i32

/// The filter of one dimension: output position i is the sum over the `taps` source positions from first[i] on, with
/// the weights from weights[i · taps] on. All positions have the same number of taps, because the processor predicts
/// loops of constant length well.
struct Filter {
  std::vector<int64_t> first;
  std::vector<int32_t> weights;
  int64_t taps = 0;
};

int32_t to_fixed(double weight) {
  // Triangle weights are never negative.
  return static_cast<int32_t>(std::floor(0.5 + weight * (1 << kPrecisionBits)));
}

/// Returns the filter for the output positions [begin, begin + n) of a resize from `in` to `out` pixels.
Filter triangle_filter(int64_t in, int64_t out, int64_t begin, int64_t n) {
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  const double support = std::max(scale, 1.0);
  const auto center_of = [&](int64_t i) { return (static_cast<double>(begin + i) + 0.5) * scale; };
  const auto first_of = [&](double center) {
    return std::max(int64_t{0}, static_cast<int64_t>(std::floor(center - support + 0.5)));
  };
  const auto end_of = [&](double center) {
    return std::min(in, static_cast<int64_t>(std::floor(center + support + 0.5)));
  };
  Filter filter;
  for (int64_t i = 0; i < n; i++) filter.taps = std::max(filter.taps, end_of(center_of(i)) - first_of(center_of(i)));
  filter.weights.resize(static_cast<size_t>(n * filter.taps));
  std::vector<double> weights(static_cast<size_t>(filter.taps));
  for (int64_t i = 0; i < n; i++) {
    const double center = center_of(i);
    const int64_t first = first_of(center), end = end_of(center);
    double sum = 0;
    for (int64_t k = 0; k < end - first; k++) {
      const double distance = (static_cast<double>(k + first) - center + 0.5) * (1.0 / support);
      weights[static_cast<size_t>(k)] = std::max(0.0, 1.0 - std::abs(distance));
      sum += weights[static_cast<size_t>(k)];
    }
    const int64_t start = std::min(first, in - filter.taps);  // the taps that are left over have weight 0
    for (int64_t k = 0; k < end - first; k++)
      filter.weights[static_cast<size_t>(i * filter.taps + first - start + k)] =
          to_fixed(weights[static_cast<size_t>(k)] / sum);
    filter.first.push_back(start);
  }
  return filter;
}

constexpr int32_t kHalf = 1 << (kPrecisionBits - 1);

// Sixteen values at a time, through the compiler's own vector types.
constexpr int64_t kLanes = 16;
typedef int32_t Sums __attribute__((vector_size(kLanes * 4)));
typedef uint8_t Bytes __attribute__((vector_size(kLanes)));
typedef uint16_t Halves __attribute__((vector_size(kLanes * 2)));
typedef uint32_t FourPixels __attribute__((vector_size(kLanes)));

uint32_t four_bytes(const uint8_t* from) {
  uint32_t bytes;
  std::memcpy(&bytes, from, sizeof bytes);
  return bytes;
}

// Vectors are passed by reference, because compilers differ in how they pass vectors wider than the processor's by
// value. The sums are never negative, because the weights are not. The conversions between u8 and i32 take two steps,
// because GCC splits a vector into elements for a conversion by a factor of four; AVX-512 has single instructions.
void add(Sums& sums, const Bytes& bytes, int32_t weight) {
#ifdef __AVX512F__
  sums += reinterpret_cast<Sums>(_mm512_cvtepu8_epi32(reinterpret_cast<__m128i>(bytes))) * weight;
#else
  sums += __builtin_convertvector(__builtin_convertvector(bytes, Halves), Sums) * weight;
#endif
}

Bytes to_bytes(const Sums& sums) {
  const Sums values = sums >> kPrecisionBits;
#ifdef __AVX512F__
  return reinterpret_cast<Bytes>(_mm512_cvtusepi32_epi8(reinterpret_cast<__m512i>(values)));
#else
  return __builtin_convertvector(__builtin_convertvector(values > 255 ? Sums{} + 255 : values, Halves), Bytes);
#endif
}

uint8_t to_byte(int32_t sum) { return static_cast<uint8_t>(std::min(sum >> kPrecisionBits, 255)); }

/// A view of pixels; row_bytes is the distance from one row to the next.
struct Pixels {
  const uint8_t* data;
  int64_t height, width, channels, row_bytes;
};

/// Resizes the width of four RGB rows at once. It reads one byte past each pixel, so the last row of an image, which
/// has no byte after it, must not be among them.
void resize_columns_of_4_rows(const uint8_t* from, int64_t row_bytes, const Filter& filter, uint8_t* to,
                              int64_t width) {
  for (int64_t x = 0; x < width; x++) {
    const uint8_t* at = from + filter.first[static_cast<size_t>(x)] * 3;
    const int32_t* weights = filter.weights.data() + x * filter.taps;
    Sums sums = Sums{} + kHalf;
    for (int64_t k = 0; k < filter.taps; k++, at += 3) {
      const FourPixels pixels = {four_bytes(at), four_bytes(at + row_bytes), four_bytes(at + 2 * row_bytes),
                                 four_bytes(at + 3 * row_bytes)};
      add(sums, reinterpret_cast<const Bytes&>(pixels), weights[k]);
    }
    const auto pixels = reinterpret_cast<FourPixels>(to_bytes(sums));
    for (int64_t y = 0; y < 4; y++) {
      const uint32_t pixel = pixels[y];
      std::memcpy(to + (y * width + x) * 3, &pixel, 3);
    }
  }
}

void resize_columns_of_row(const uint8_t* from, int64_t channels, const Filter& filter, uint8_t* to, int64_t width) {
  for (int64_t x = 0; x < width; x++) {
    const uint8_t* at = from + filter.first[static_cast<size_t>(x)] * channels;
    const int32_t* weights = filter.weights.data() + x * filter.taps;
    for (int64_t channel = 0; channel < channels; channel++) {
      int32_t sum = kHalf;
      for (int64_t k = 0; k < filter.taps; k++) sum += at[k * channels + channel] * weights[k];
      *to++ = to_byte(sum);
    }
  }
}

void resize_columns(const Pixels& image, const Filter& filter, uint8_t* out) {
  const int64_t width = std::ssize(filter.first);
  int64_t y = 0;
  if (image.channels == 3)
    for (; y + 4 < image.height; y += 4)
      resize_columns_of_4_rows(image.data + y * image.row_bytes, image.row_bytes, filter, out + y * width * 3, width);
  for (; y < image.height; y++)
    resize_columns_of_row(image.data + y * image.row_bytes, image.channels, filter, out + y * width * image.channels,
                          width);
}

void resize_rows(const Pixels& image, const Filter& filter, uint8_t* out) {
  const int64_t n = image.width * image.channels;
  for (int64_t y = 0; y < std::ssize(filter.first); y++, out += n) {
    const int32_t* weights = filter.weights.data() + y * filter.taps;
    const uint8_t* rows = image.data + filter.first[static_cast<size_t>(y)] * image.row_bytes;
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) {
      Sums sums = Sums{} + kHalf;
      for (int64_t k = 0; k < filter.taps; k++) {
        Bytes pixels;
        std::memcpy(&pixels, rows + k * image.row_bytes + i, sizeof pixels);
        add(sums, pixels, weights[k]);
      }
      const Bytes pixels = to_bytes(sums);
      std::memcpy(out + i, &pixels, sizeof pixels);
    }
    for (; i < n; i++) {
      int32_t sum = kHalf;
      for (int64_t k = 0; k < filter.taps; k++) sum += rows[k * image.row_bytes + i] * weights[k];
      out[i] = to_byte(sum);
    }
  }
}

void check_box(ImageSize image, const CropBox& box) {
  check(box.top >= 0 && box.left >= 0 && box.height >= 1 && box.width >= 1 && box.top <= image.height - box.height &&
            box.left <= image.width - box.width,
        "[crop] expected a box in an image of ", image.height, "x", image.width, ", got ", box.height, "x", box.width,
        " at row ", box.top, ", column ", box.left);
}

Pixels cut(const Pixels& image, const CropBox& box) {
  return {image.data + box.top * image.row_bytes + box.left * image.channels, box.height, box.width, image.channels,
          image.row_bytes};
}

/// Resizes the image to height×width, but computes only the pixels in `box`.
Image resize_to_box(const Pixels& image, int64_t height, int64_t width, const CropBox& box,
                    std::vector<uint8_t> memory) {
  check(height >= 1 && width >= 1 && height <= kMaxImagePixels / width, "[resize] expected a size of 1 to ",
        kMaxImagePixels, " pixels, got ", height, "x", width);
  check(image.height <= kMaxImagePixels / width, "[resize] expected a width that makes at most ", kMaxImagePixels,
        " pixels of ", image.height, " rows, got ", width);
  Image out = {box.height, box.width, image.channels, std::move(memory)};
  out.pixels.resize(static_cast<size_t>(box.height * box.width * image.channels));
  // Find the source rows that the box needs, and their filter. A side that keeps its length is copied, as in PIL.
  Pixels part = cut(image, {box.top, 0, box.height, image.width});
  Filter rows;
  if (height != image.height) {
    rows = triangle_filter(image.height, height, box.top, box.height);
    const int64_t first = rows.first.front(), end = rows.first.back() + rows.taps;
    for (int64_t& row : rows.first) row -= first;
    part = cut(image, {first, 0, end - first, image.width});
  }
  thread_local std::vector<uint8_t> columns;
  if (width != image.width) {
    uint8_t* to = out.pixels.data();
    if (height != image.height) {
      columns.resize(static_cast<size_t>(part.height * box.width * part.channels));
      to = columns.data();
    }
    resize_columns(part, triangle_filter(image.width, width, box.left, box.width), to);
    part = {to, part.height, box.width, part.channels, box.width * part.channels};
  } else {
    part = cut(part, {0, box.left, part.height, box.width});
  }
  if (height != image.height) {
    resize_rows(part, rows, out.pixels.data());
  } else if (width == image.width) {
    const int64_t bytes = part.width * part.channels;
    for (int64_t y = 0; y < part.height; y++)
      std::copy_n(part.data + y * part.row_bytes, bytes, out.pixels.data() + y * bytes);
  }
  return out;
}

Pixels all_of(const Image& image) {
  return {image.pixels.data(), image.height, image.width, image.channels, image.width * image.channels};
}

CropBox center_box(ImageSize image, int64_t size) {
  check(size >= 1 && size <= image.height && size <= image.width,
        "[center_crop] expected a size of 1 to that of the image, ", image.height, "x", image.width, ", got ", size);
  const auto offset = [&](int64_t extent) {
    return std::lrint(static_cast<double>(extent - size) / 2.0);  // rounds halves to even, the default mode
  };
  return {offset(image.height), offset(image.width), size, size};
}

}  // namespace

// Python's int(size * longer / shorter): a floating-point division, truncated.
ImageSize size_of_shorter(const Image& image, int64_t size) {
  const int64_t shorter = std::min(image.height, image.width), longer = std::max(image.height, image.width);
  const auto scaled = static_cast<int64_t>(static_cast<double>(size * longer) / static_cast<double>(shorter));
  return image.width <= image.height ? ImageSize{scaled, size} : ImageSize{size, scaled};
}

Image resized_crop(const Image& image, const CropBox& box, int64_t height, int64_t width, std::vector<uint8_t> memory) {
  check_box({image.height, image.width}, box);
  return resize_to_box(cut(all_of(image), box), height, width, {0, 0, height, width}, std::move(memory));
}

Image resize(const Image& image, int64_t height, int64_t width) {
  return resized_crop(image, {0, 0, image.height, image.width}, height, width);
}

Image crop(const Image& image, const CropBox& box) { return resized_crop(image, box, box.height, box.width); }

Image resize_shorter(const Image& image, int64_t size) {
  const ImageSize to = size_of_shorter(image, size);
  return resize(image, to.height, to.width);
}

Image center_crop(const Image& image, int64_t size) {
  return crop(image, center_box({image.height, image.width}, size));
}

Image resized_part(const Image& image, ImageSize to, const CropBox& box, std::vector<uint8_t> memory) {
  check_box(to, box);
  return resize_to_box(all_of(image), to.height, to.width, box, std::move(memory));
}

Image resized_center(const Image& image, int64_t shorter, int64_t size, std::vector<uint8_t> memory) {
  const ImageSize to = size_of_shorter(image, shorter);
  return resized_part(image, to, center_box(to, size), std::move(memory));
}

}  // namespace fulcrum
