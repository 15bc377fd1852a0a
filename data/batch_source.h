// What the ranges and slots of a loader share: the data set, its options, its statistics.
#pragma once

#include <algorithm>
#include <span>

#include <fulcrum/data/loader.h>
#include <fulcrum/data/sample_reader.h>

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
  /// Rows of StagedBatch::columns.
  int64_t column_rows() const;
  /// Samples that are staged after those of a batch: of a part of one that is mixed the sample before its first, 1;
  /// else 0.
  int64_t neighbours() const { return options_.mix.any() && options_.parts > 1 ? 1 : 0; }
  /// A batch of views of `columns` (on the loader's device), with room for its images and shares.
  Batch batch_of(const Tensor& columns) const;
  /// Fills batch.images, normalised, augmented and mixed, and batch.share, from columns and pixels that are on
  /// the loader's device; pixels are the data set's own where they are undefined.
  void make_images(Batch& batch, const Tensor& columns, const Tensor& pixels) const;
  /// On the loader's device, by the calling thread.
  Batch finish(const StagedBatch& staged) const;

 private:
  void check_indices(const std::vector<int64_t>& indices) const;
  /// u8 [B, H, W, C] of samples with these counters.
  Tensor read_pixels(std::span<const int64_t> samples, std::span<const int64_t> counters) const;
  /// The rows of a mixed batch of n columns; `counter` is that of the first sample of all parts.
  void plan_mix(int64_t* columns, int64_t n, uint64_t counter) const;

  const Dataset& dataset_;
  LoaderOptions options_;
  SampleReader reader_;  // of options_
  Sampler sampler_;
  Tensor mean_, stddev_;  // f32 [C]
  Tensor images_;         // u8 [N, H, W, C] on the device; undefined where images are read one by one
  Tensor first_rows_;     // i64 [batch_size]: 0, 1, …; of pixels that are a batch's own
};

/// Rows of StagedBatch::columns; kOtherLabels and, from kMixPlan on, the plan of core/mix_rules.h only where
/// batches are mixed.
enum BatchColumn : int64_t {
  kIndices = 0,
  kLabels = 1,
  kGroups = 2,
  kCounters = 3,  // of the augmentation
  kPlainColumns = 4,
  kOtherLabels = 4,
  kMixPlan = 5
};

/// i64 [B], a view.
inline Tensor batch_column(const Tensor& columns, BatchColumn which) {
  return columns.slice(which, which + 1).reshape({columns.size(1)});
}

}  // namespace fulcrum
