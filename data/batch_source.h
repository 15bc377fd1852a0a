// BatchSource: what the ranges and slots of a loader share (data set, options, statistics), and how it makes batches.
// Internal to data/.
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
  /// Whether all images are on the loader's device, where batches are then gathered.
  bool resident() const { return images_.defined(); }

  /// Stages batch `number` of `epoch`, whose order is `order`.
  StagedBatch stage(const std::vector<int64_t>& order, int64_t epoch, int64_t number) const;
  /// The number of rows of StagedBatch::columns.
  int64_t column_rows() const;
  /// The number of samples staged after those of the batch. With mixing and parts > 1 it is 1, the sample before the
  /// first of this part, with which that one is mixed; otherwise 0.
  int64_t neighbours() const { return options_.mix.any() && options_.parts > 1 ? 1 : 0; }
  /// Makes a batch whose tensors are views of `columns` (on the loader's device), with images and shares allocated.
  Batch batch_of(const Tensor& columns) const;
  /// Fills batch.images (normalised, augmented and mixed) and batch.share from columns and pixels on the loader's
  /// device. If `pixels` is undefined, gathers from the resident images.
  void make_images(Batch& batch, const Tensor& columns, const Tensor& pixels) const;
  /// Makes the batch on the loader's device; kernels run on the calling thread or its stream.
  Batch finish(const StagedBatch& staged) const;

 private:
  void check_indices(const std::vector<int64_t>& indices) const;
  /// Reads the pixels u8 [B, H, W, C] of these samples; `counters` index their random draws.
  Tensor read_pixels(std::span<const int64_t> samples, std::span<const int64_t> counters) const;
  /// Writes the rows kOtherLabels and kMixPlan of a batch with n columns. `counter` is that of the first sample of the
  /// whole batch, so that all parts draw the same plan.
  void plan_mix(int64_t* columns, int64_t n, uint64_t counter) const;

  const Dataset& dataset_;
  LoaderOptions options_;
  SampleReader reader_;  // refers to options_
  Sampler sampler_;
  Tensor mean_, stddev_;  // f32 [C]
  Tensor images_;         // u8 [N, H, W, C] on the device; undefined if images are read one by one
  Tensor first_rows_;     // i64 [batch_size]: 0, 1, …; the rows to gather if a batch has its own pixels
};

/// Rows of StagedBatch::columns. kOtherLabels and the plan of core/mix_rules.h, which starts at kMixPlan, exist only if
/// batches are mixed.
enum BatchColumn : int64_t {
  kIndices = 0,
  kLabels = 1,
  kGroups = 2,
  kCounters = 3,  // index the augmentation's random draws
  kPlainColumns = 4,
  kOtherLabels = 4,
  kMixPlan = 5
};

/// A view i64 [B] of one row.
inline Tensor batch_column(const Tensor& columns, BatchColumn which) {
  return columns.slice(which, which + 1).reshape({columns.size(1)});
}

}  // namespace fulcrum
