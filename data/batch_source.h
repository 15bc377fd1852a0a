// What the ranges and slots of a loader share: the data set, its options, its statistics.
#pragma once

#include <algorithm>
#include <span>

#include <fulcrum/data/loader.h>

namespace fulcrum {

class BatchSource {
 public:
  BatchSource(const Dataset& dataset, LoaderOptions options);

  const Dataset& dataset() const { return dataset_; }
  const LoaderOptions& options() const { return options_; }
  int64_t batches() const;
  int64_t size() const { return std::min(sampler_.size, batches() * options_.batch_size); }
  std::vector<int64_t> order(int64_t epoch) const;
  /// Whether all images are on the device, and batches gathered there.
  bool resident() const { return images_.defined(); }

  /// Batch `number` of the epoch with this order.
  StagedBatch stage(const std::vector<int64_t>& order, int64_t epoch, int64_t number) const;
  /// Normalised, augmented images [B, H, W, C] of columns and pixels that are on the loader's device;
  /// pixels are the data set's own where they are undefined.
  void make_images(Tensor& images, const Tensor& columns, const Tensor& pixels) const;
  /// On the loader's device, by the calling thread.
  Batch finish(const StagedBatch& staged) const;

 private:
  void check_indices(const std::vector<int64_t>& indices) const;
  /// u8 [B, H, W, C]; `counter` is that of the first sample.
  Tensor read_pixels(std::span<const int64_t> samples, uint64_t counter) const;
  void read_crop(int64_t sample, uint64_t counter, uint8_t* out) const;

  const Dataset& dataset_;
  LoaderOptions options_;
  Sampler sampler_;
  Tensor mean_, stddev_;  // f32 [C]
  Tensor images_;  // u8 [N, H, W, C] on the device; undefined where images are read one by one
  Tensor first_rows_;  // i64 [batch_size]: 0, 1, …; of pixels that are a batch's own
};

/// Rows of StagedBatch::columns.
enum BatchColumn : int64_t { kIndices = 0, kLabels = 1, kGroups = 2, kCounters = 3, kBatchColumns = 4 };

/// i64 [B], a view.
inline Tensor batch_column(const Tensor& columns, BatchColumn which) {
  return columns.slice(which, which + 1).reshape({columns.size(1)});
}

}  // namespace fulcrum
