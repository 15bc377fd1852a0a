#include <fulcrum/data/dataset.h>

#include <algorithm>
#include <cmath>
#include <mutex>
#include <numeric>

#include <fulcrum/data/parallel.h>

namespace fulcrum {

Dataset::Dataset(Shape image_shape, std::vector<int64_t> labels, std::vector<std::string> class_names)
    : image_shape_(image_shape), labels_(std::move(labels)), class_names_(std::move(class_names)) {
  check(image_shape_.dim() == 3 && std::ranges::min(image_shape_.sizes()) > 0,
        "[dataset] expected images [H, W, C], got ", image_shape_);
  check(!labels_.empty(), "[dataset] expected at least one sample, got none");
  check(!class_names_.empty(), "[dataset] expected at least one class, got none");
  check_labels(labels_, classes(), "[dataset] ");
}

Image Dataset::original(int64_t index, const std::function<DecodeNeeds(ImageSize)>&,
                        std::vector<uint8_t> memory) const {
  Image image = {image_shape_[0], image_shape_[1], image_shape_[2], std::move(memory)};
  image.pixels.resize(static_cast<size_t>(image_shape_.numel()));
  read(index, image.pixels.data());
  return image;
}

void Dataset::set_labels(std::vector<int64_t> labels) {
  check(labels.size() == labels_.size(), "[dataset] expected ", labels_.size(), " labels, got ", labels.size());
  check_labels(labels, classes(), "[dataset] ");
  if (clean_.empty()) clean_ = labels_;
  labels_ = std::move(labels);
}

void Dataset::set_labels(std::span<const int64_t> indices, std::span<const int64_t> labels) {
  check(indices.size() == labels.size(), "[dataset] expected a label for each of ", indices.size(), " indices, got ",
        labels.size());
  std::vector<int64_t> all = labels_;
  for (size_t i = 0; i < indices.size(); i++) {
    check(indices[i] >= 0 && indices[i] < size(), "[dataset] index ", indices[i], " is outside [0, ", size(), ")");
    all[static_cast<size_t>(indices[i])] = labels[i];
  }
  set_labels(std::move(all));
}

void Dataset::set_groups(std::vector<int64_t> groups) {
  check(groups.size() == labels_.size(), "[dataset] expected ", labels_.size(), " groups, got ", groups.size());
  const auto bad = std::ranges::find_if(groups, [](int64_t g) { return g < 0; });
  check(bad == groups.end(), "[dataset] sample ", bad - groups.begin(),
        ": expected a group of 0 or more, got a negative one");
  groups_ = std::move(groups);
}

namespace {
Shape shape_of_one(const Tensor& images) {
  check(images.defined() && images.dim() == 4 && images.dtype() == DType::kU8,
        "[dataset] expected images u8 [N, H, W, C]");
  check(images.device().is_cpu(), "[dataset] expected images on the cpu, got ", images.device());
  return images.shape().without(0);
}
}  // namespace

InMemoryDataset::InMemoryDataset(Tensor images, std::vector<int64_t> labels, std::vector<std::string> class_names)
    : Dataset(shape_of_one(images), std::move(labels), std::move(class_names)), images_(std::move(images)) {
  check(images_.size(0) == size(), "[dataset] expected one label for each of ", images_.size(0), " images, got ",
        size());
}

void InMemoryDataset::read(int64_t index, uint8_t* out) const {
  check(index >= 0 && index < size(), "[dataset] index ", index, " is outside [0, ", size(), ")");
  const int64_t bytes = image_shape().numel();
  std::copy_n(images_.data<uint8_t>() + index * bytes, bytes, out);
}

std::vector<std::string> numbered_class_names(int64_t classes) {
  std::vector<std::string> names;
  for (int64_t k = 0; k < classes; k++) names.push_back(std::to_string(k));
  return names;
}

void check_labels(std::span<const int64_t> labels, int64_t classes, const std::string& where) {
  for (size_t i = 0; i < labels.size(); i++)
    check(labels[i] >= 0 && labels[i] < classes, where, "sample ", i, ": expected a label in [0, ", classes, "), got ",
          labels[i]);
}

std::vector<int64_t> class_counts(std::span<const int64_t> labels, int64_t classes) {
  check(classes > 0, "[class_counts] expected at least one class, got ", classes);
  check_labels(labels, classes, "[class_counts] ");
  std::vector<int64_t> counts(static_cast<size_t>(classes));
  for (const int64_t label : labels) counts[static_cast<size_t>(label)]++;
  return counts;
}

std::vector<int64_t> all_indices(int64_t n) {
  std::vector<int64_t> indices(static_cast<size_t>(n));
  std::iota(indices.begin(), indices.end(), int64_t{0});
  return indices;
}

std::vector<int64_t> gather(std::span<const int64_t> values, std::span<const int64_t> indices) {
  std::vector<int64_t> result;
  result.reserve(indices.size());
  for (const int64_t i : indices) {
    check(i >= 0 && i < static_cast<int64_t>(values.size()), "[gather] index ", i, " is outside [0, ", values.size(),
          ")");
    result.push_back(values[static_cast<size_t>(i)]);
  }
  return result;
}

ChannelStatistics channel_statistics(const Dataset& dataset) {
  return channel_statistics(dataset, all_indices(dataset.size()));
}

ChannelStatistics channel_statistics(const Dataset& dataset, std::span<const int64_t> indices) {
  check(!indices.empty(), "[channel_statistics] expected at least one sample, got none");
  const auto channels = static_cast<size_t>(dataset.image_shape()[2]);
  const auto values = static_cast<size_t>(dataset.image_shape().numel());
  // Sums of bytes are exact in 64 bits, so the result does not depend on the order.
  std::vector<uint64_t> sum(channels), squares(channels);
  std::mutex mutex;
  constexpr int64_t kPiece = 64;
  const int64_t n_indices = std::ssize(indices);
  parallel_for((n_indices + kPiece - 1) / kPiece, /*threads=*/0, [&](int64_t k) {
    std::vector<uint8_t> image(values);
    std::vector<uint64_t> own_sum(channels), own_squares(channels);
    for (int64_t i = k * kPiece; i < std::min(n_indices, (k + 1) * kPiece); i++) {
      dataset.read(indices[static_cast<size_t>(i)], image.data());
      for (size_t j = 0; j < values; j += channels) {
        for (size_t c = 0; c < channels; c++) {
          const uint64_t v = image[j + c];
          own_sum[c] += v;
          own_squares[c] += v * v;
        }
      }
    }
    const std::lock_guard lock(mutex);
    for (size_t c = 0; c < channels; c++) {
      sum[c] += own_sum[c];
      squares[c] += own_squares[c];
    }
  });
  const size_t pixels = values / channels;
  const double n = static_cast<double>(indices.size()) * static_cast<double>(pixels);
  ChannelStatistics result;
  for (size_t c = 0; c < channels; c++) {
    const double mean = static_cast<double>(sum[c]) / n;
    const double variance = static_cast<double>(squares[c]) / n - mean * mean;
    result.mean.push_back(mean / 255);
    result.stddev.push_back(std::sqrt(std::max(variance, 0.0)) / 255);
  }
  return result;
}

}  // namespace fulcrum
