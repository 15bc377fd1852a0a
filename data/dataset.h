// Dataset: images of one shape with a label each.
//
//   InMemoryDataset train = load_fashion_mnist("/usr/share/datasets/fashion-mnist", true);
//   train.size(); train.classes(); train.class_names()[0];       // 60000, 10, "T-shirt/top"
//   std::vector<int64_t> counts = class_counts(train.labels(), train.classes());
//
// A data set keeps the labels of all samples in memory and returns images one by one, so that a reader of
// files on disk needs only a constructor and read(). A data set that fits in memory can also provide all
// images as one tensor, from which the loader gathers batches in one kernel.
//
// Label noise replaces labels() but not clean_labels(), so that a report can tell which labels are wrong.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include <fulcrum/core/tensor.h>
#include <fulcrum/data/image_file.h>

namespace fulcrum {

class Dataset {
 public:
  virtual ~Dataset() = default;

  /// Writes the image of sample `index`, u8 [H, W, C], to `out`. May be called from several threads at
  /// once. Throws Error if the image cannot be read.
  virtual void read(int64_t index, uint8_t* out) const = 0;
  /// Returns the image of sample `index` at its original size, before resizing to image_shape(), for transforms that
  /// crop it themselves. `needs` is as in DecodeOptions, `memory` as in load_image. Data sets without originals return
  /// the image of read().
  virtual Image original(int64_t index, const std::function<DecodeNeeds(ImageSize)>& needs,
                         std::vector<uint8_t> memory = {}) const;
  /// All images, u8 [N, H, W, C] on the CPU, if they are in memory; otherwise undefined.
  virtual Tensor images() const { return {}; }
  /// Whether read() only copies pixels that are already decoded. If so, all images may be kept on a GPU.
  virtual bool decoded() const { return false; }
  /// A string that identifies sample `index` without reading its pixels: path and size in bytes for a file,
  /// otherwise the index.
  virtual std::string identity(int64_t index) const { return std::to_string(index); }

  int64_t size() const { return static_cast<int64_t>(labels_.size()); }
  /// [H, W, C].
  const Shape& image_shape() const { return image_shape_; }
  int64_t classes() const { return static_cast<int64_t>(class_names_.size()); }
  const std::vector<std::string>& class_names() const { return class_names_; }
  /// The labels used for training, each in [0, classes()).
  const std::vector<int64_t>& labels() const { return labels_; }
  /// The labels before noise.
  const std::vector<int64_t>& clean_labels() const { return clean_.empty() ? labels_ : clean_; }
  bool has_noise() const { return !clean_.empty(); }
  /// The group of each sample, for risks over groups: its label unless set otherwise.
  const std::vector<int64_t>& groups() const { return groups_.empty() ? labels_ : groups_; }

  /// Replaces labels(), one for each sample; the original labels stay available as clean_labels(). Must not be called
  /// while a loader is running.
  void set_labels(std::vector<int64_t> labels);
  /// The same for some samples: labels[i] is the new label of sample indices[i].
  void set_labels(std::span<const int64_t> indices, std::span<const int64_t> labels);
  void set_groups(std::vector<int64_t> groups);

 protected:
  /// Throws Error unless there is at least one sample and every label is in [0, class_names.size()).
  Dataset(Shape image_shape, std::vector<int64_t> labels, std::vector<std::string> class_names);
  Dataset(const Dataset&) = default;
  Dataset& operator=(const Dataset&) = default;
  Dataset(Dataset&&) = default;
  Dataset& operator=(Dataset&&) = default;

 private:
  Shape image_shape_;
  std::vector<int64_t> labels_, clean_, groups_;
  std::vector<std::string> class_names_;
};

/// A data set with all images in one tensor.
class InMemoryDataset : public Dataset {
 public:
  /// images u8 [N, H, W, C] on the CPU, one label for each.
  InMemoryDataset(Tensor images, std::vector<int64_t> labels, std::vector<std::string> class_names);

  Tensor images() const override { return images_; }
  bool decoded() const override { return true; }
  void read(int64_t index, uint8_t* out) const override;

 private:
  Tensor images_;
};

/// "0", "1", …: names for classes that have none.
std::vector<std::string> numbered_class_names(int64_t classes);
/// Throws Error, naming the first such label, if a label is outside [0, classes). The message starts with `where`.
void check_labels(std::span<const int64_t> labels, int64_t classes, const std::string& where);
/// Number of samples of each class, [classes].
std::vector<int64_t> class_counts(std::span<const int64_t> labels, int64_t classes);
/// 0, 1, …, n − 1.
std::vector<int64_t> all_indices(int64_t n);
/// values[indices[0]], values[indices[1]], …
std::vector<int64_t> gather(std::span<const int64_t> values, std::span<const int64_t> indices);

/// Mean and standard deviation of each channel, in units of pixel / 255.
struct ChannelStatistics {
  std::vector<double> mean, stddev;  // [C]
};
/// Statistics over all pixels of all samples, or of the samples in `indices`. Reads images on all cores.
ChannelStatistics channel_statistics(const Dataset& dataset);
ChannelStatistics channel_statistics(const Dataset& dataset, std::span<const int64_t> indices);

}  // namespace fulcrum
