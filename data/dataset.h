// Dataset: images of one shape with a label each.
//
//   InMemoryDataset train = load_fashion_mnist("/usr/share/datasets/fashion-mnist", true);
//   train.size(); train.classes(); train.class_names()[0];       // 60000, 10, "T-shirt/top"
//   std::vector<int64_t> counts = class_counts(train.labels(), train.classes());
//
// A data set keeps the labels of all its samples in memory and hands out images one by one, so that
// a reader of files on disk needs no more than a constructor and read(). What fits in memory also
// offers all images as one tensor, from which the loader gathers batches in one kernel.
//
// Noise replaces labels() and leaves clean_labels(), so that a report can say which were wrong.
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

  /// Writes the image of sample `index`, u8 [H, W, C], to `out`. Called from several threads at
  /// once. An Error where the image cannot be had.
  virtual void read(int64_t index, uint8_t* out) const = 0;
  /// The image of sample `index` before it was brought to image_shape(), for transforms that cut out a part
  /// of their own; `needs` is that of DecodeOptions, `memory` that of load_image. Where there is no such image: that
  /// of read().
  virtual Image original(int64_t index, const std::function<DecodeNeeds(ImageSize)>& needs,
                         std::vector<uint8_t> memory = {}) const;
  /// All images, u8 [N, H, W, C] on the CPU, where they are in memory; else undefined.
  virtual Tensor images() const { return {}; }
  /// Whether read() copies what is decoded already: then the images may go to a GPU as a whole.
  virtual bool decoded() const { return false; }
  /// What tells sample `index` from others without reading its pixels: its path and size in bytes
  /// where it is a file, else its number.
  virtual std::string identity(int64_t index) const { return std::to_string(index); }

  int64_t size() const { return static_cast<int64_t>(labels_.size()); }
  /// [H, W, C].
  const Shape& image_shape() const { return image_shape_; }
  int64_t classes() const { return static_cast<int64_t>(class_names_.size()); }
  const std::vector<std::string>& class_names() const { return class_names_; }
  /// What training sees, each in [0, classes()).
  const std::vector<int64_t>& labels() const { return labels_; }
  /// The labels before noise.
  const std::vector<int64_t>& clean_labels() const { return clean_.empty() ? labels_ : clean_; }
  bool has_noise() const { return !clean_.empty(); }
  /// The group of each sample, for risks over groups: its label unless set otherwise.
  const std::vector<int64_t>& groups() const { return groups_.empty() ? labels_ : groups_; }

  /// Replaces labels(), one for each sample, and keeps the first ones as clean_labels(). Not while
  /// a loader is running.
  void set_labels(std::vector<int64_t> labels);
  /// The same for some samples: labels[i] is the new label of sample indices[i].
  void set_labels(std::span<const int64_t> indices, std::span<const int64_t> labels);
  void set_groups(std::vector<int64_t> groups);

 protected:
  /// An Error unless there is at least one sample and every label is in [0, class_names.size()).
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

/// All images in one tensor.
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

/// "0", "1", …: the names of classes that have none.
std::vector<std::string> numbered_class_names(int64_t classes);
/// An Error naming the first label outside [0, classes); `where` opens the message.
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
/// Over all pixels of all samples, or of those in `indices`; images are read on all cores.
ChannelStatistics channel_statistics(const Dataset& dataset);
ChannelStatistics channel_statistics(const Dataset& dataset, std::span<const int64_t> indices);

}  // namespace fulcrum
