#include <fulcrum/data/resized_crop.h>

#include <algorithm>
#include <cmath>

namespace fulcrum {

namespace {

constexpr uint64_t kTries = 10, kBlocksOfACounter = 16;

int64_t rounded(double v) { return std::lrint(v); }  // halves to even, like Python's round

CropBox middle(ImageSize size, const ResizedCropOptions& o) {
  const double ratio = static_cast<double>(size.width) / static_cast<double>(size.height);
  int64_t height = size.height, width = size.width;
  if (ratio < o.min_ratio) height = rounded(static_cast<double>(width) / o.min_ratio);
  if (ratio > o.max_ratio) width = rounded(static_cast<double>(height) * o.max_ratio);
  height = std::clamp(height, int64_t{1}, size.height);
  width = std::clamp(width, int64_t{1}, size.width);
  return {(size.height - height) / 2, (size.width - width) / 2, height, width};
}

}  // namespace

CropBox random_crop_box(ImageSize size, const ResizedCropOptions& o, const Philox& philox, uint64_t counter) {
  const double area = static_cast<double>(size.height * size.width);
  const auto uniform = [](uint32_t word, double low, double high) {
    return low + (high - low) * static_cast<double>(Philox::to_uniform(word));
  };
  for (uint64_t t = 0; t < kTries; t++) {
    const Words4 words = philox.block(counter * kBlocksOfACounter + t);
    const double target = area * uniform(words.w[0], o.min_scale, o.max_scale);
    const double ratio = std::exp(uniform(words.w[1], std::log(o.min_ratio), std::log(o.max_ratio)));
    const int64_t width = rounded(std::sqrt(target * ratio)), height = rounded(std::sqrt(target / ratio));
    if (width < 1 || width > size.width || height < 1 || height > size.height) continue;
    const auto place = [](uint32_t word, int64_t free) {
      return static_cast<int64_t>(Philox::scale(word, static_cast<uint32_t>(free + 1)));
    };
    return {place(words.w[2], size.height - height), place(words.w[3], size.width - width), height, width};
  }
  return middle(size, o);
}

CropBox scaled_box(const CropBox& box, ImageSize full, ImageSize reduced) {
  const auto scaled = [](int64_t first, int64_t extent, int64_t from, int64_t to, int64_t& new_first) {
    const double factor = static_cast<double>(to) / static_cast<double>(from);
    new_first = std::clamp(rounded(static_cast<double>(first) * factor), int64_t{0}, to - 1);
    return std::clamp(rounded(static_cast<double>(extent) * factor), int64_t{1}, to - new_first);
  };
  CropBox out;
  out.height = scaled(box.top, box.height, full.height, reduced.height, out.top);
  out.width = scaled(box.left, box.width, full.width, reduced.width, out.left);
  return out;
}

}  // namespace fulcrum
