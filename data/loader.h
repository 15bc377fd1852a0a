// Loader: makes batches of a data set, augmented and normalised, ahead of time on worker threads.
//
//   Loader loader(train, {.batch_size = 128, .indices = subset, .shuffle = true,
//                         .augment = {.pad = 4, .flip = true, .seed = 1},
//                         .mean = stats.mean, .stddev = stats.stddev, .seed = 1});
//   for (int64_t epoch = 0; epoch < 200; epoch++)
//     for (const Batch& batch : loader.epoch(epoch)) …     // or: for (Batch batch : loader) …
//   for (const Batch& batch : loader.epoch(17, /*first_batch=*/42)) …   // resumes there, bit for bit
//
// Every batch is a pure function of the options, the epoch and its number in the epoch. It does not depend on
// the number of workers, on what was loaded before or on the machine.
#pragma once

#include <iterator>
#include <memory>
#include <optional>
#include <vector>

#include <fulcrum/core/kernel_types.h>
#include <fulcrum/data/color_jitter.h>
#include <fulcrum/data/dataset.h>
#include <fulcrum/data/mix.h>
#include <fulcrum/data/rand_augment.h>
#include <fulcrum/data/resized_crop.h>
#include <fulcrum/data/sampler.h>

namespace fulcrum {

struct Batch {
  Tensor images;   // [B, H, W, C] in the loader's dtype: (pixel/255 − mean) / stddev
  Tensor labels;   // i64 [B], including the data set's label noise
  Tensor indices;  // i64 [B], positions of the samples in the data set
  Tensor groups;   // i64 [B]; the labels if the data set has no groups of its own
  // Undefined without LoaderOptions::mix.
  Tensor other_labels;  // i64 [B], label of the image that each was mixed with
  Tensor share;         // f32 [B], in [0, 1]: the share of the image's own label
  int64_t size = 0;
  int64_t total = 0;  // samples in all parts of the batch: LoaderOptions::parts
};

/// The data from which a batch is made, in host memory, which is pinned if the loader's device is a GPU.
struct StagedBatch {
  Tensor columns;  // i64 [rows, B]: rows as in BatchColumn (batch_source.h); here B includes BatchSource::neighbours()
  Tensor pixels;   // u8 [B, H, W, C], same B; undefined if all images are resident (BatchSource::resident())
  int64_t size = 0;
  int64_t total = 0;
};

struct LoaderOptions {
  int64_t batch_size = 128;
  /// The samples to visit; by default all of them.
  std::optional<std::vector<int64_t>> indices = {};
  bool shuffle = false;
  /// This loader makes only slice `part` of `parts` of every batch (slice_of in communicator.h). The slices of all
  /// parts, in order, equal the batch of a loader with parts = 1, bit for bit. If a last batch has fewer than `parts`
  /// samples, a part without samples contains the first sample of the batch instead.
  int part = 0, parts = 1;
  /// Leaves out the last batch of an epoch if it is smaller than the others.
  bool drop_last = false;
  /// Random crop of the padded image, flip and rotation; by default none. Drawn from (augment.seed,
  /// epoch, position in the epoch).
  AugmentOptions augment = {};
  /// Uses random crops of the original images (Dataset::original) instead of the images from read(). Applied before
  /// `augment`, on the workers; drawn from augment.seed in the same way.
  std::optional<ResizedCropOptions> resized_crop = {};
  /// Alternative to resized_crop: resizes the shorter side of the original to this many pixels, at least the sides of
  /// image_shape(), and takes a random crop of image_shape(). 0: off.
  int64_t random_crop_size = 0;
  /// Colour jitter and RandAugment, after crop and flip and before the rotation; on the workers, drawn from
  /// augment.seed.
  ColorJitterOptions color_jitter = {};
  RandAugmentOptions rand_augment = {};
  /// Mixes the images of a batch. Drawn from augment.seed and the counter of the batch's first sample.
  MixOptions mix = {};
  /// Per channel, in units of pixel / 255. Empty: 0 and 1.
  std::vector<double> mean = {}, stddev = {};
  uint64_t seed = 0;  // of the shuffle
  DType dtype = DType::kF32;
  Device device = {};
  /// Threads that make batches; 0: the calling thread makes them.
  int workers = 1;
  int prefetch = 2;  // batches that each worker may be ahead
  /// Replaces indices, shuffle and seed.
  std::optional<Sampler> sampler = {};
};

class BatchSource;  // batch_source.h

/// The number of batches that `samples` samples make; the last one may be smaller or is dropped.
inline int64_t batches_of(int64_t samples, int64_t batch_size, bool drop_last) {
  return (samples + (drop_last ? 0 : batch_size - 1)) / batch_size;
}

/// The batches of one epoch, for a single pass. The destructor ends the worker threads, also half-way through.
class BatchRange {
 public:
  class Iterator {
   public:
    using value_type = Batch;
    using difference_type = std::ptrdiff_t;
    Iterator() = default;
    explicit Iterator(std::shared_ptr<BatchRange> range) : range_(std::move(range)) {}
    const Batch& operator*() const { return range_->current_; }
    const Batch* operator->() const { return &range_->current_; }
    Iterator& operator++() {
      range_->advance();
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const Iterator& i, std::default_sentinel_t) { return i.at_end(); }

   private:
    bool at_end() const { return range_->current_.size == 0; }
    std::shared_ptr<BatchRange> range_;
  };

  BatchRange(std::shared_ptr<const BatchSource> source, int64_t epoch, int64_t first_batch);
  BatchRange(BatchRange&&) noexcept;
  BatchRange& operator=(BatchRange&&) noexcept;
  ~BatchRange();

  /// Makes the first batch. The iterator is valid until the range is moved or destroyed.
  Iterator begin();
  std::default_sentinel_t end() const { return {}; }

 private:
  friend class Iterator;
  friend class Loader;
  void advance();
  struct Work;
  std::unique_ptr<Work> work_;
  Batch current_;  // size 0 after the last
};

/// The staged batches of one epoch, for BatchSlot (batch_slot.h).
class StagedRange {
 public:
  StagedRange(std::shared_ptr<const BatchSource> source, int64_t epoch, int64_t first_batch);
  StagedRange(StagedRange&&) noexcept;
  StagedRange& operator=(StagedRange&&) noexcept;
  ~StagedRange();
  /// The next batch; nullopt after the last.
  std::optional<StagedBatch> next();

 private:
  struct Work;
  std::unique_ptr<Work> work_;
};

class Loader {
 public:
  /// The data set is not copied; it must outlive the loader and its ranges. Throws Error, naming the option,
  /// for invalid options.
  Loader(const Dataset& dataset, LoaderOptions options);
  Loader(const Dataset&&, LoaderOptions) = delete;

  /// Samples per epoch, without those that drop_last leaves out.
  int64_t size() const;
  /// Batches per epoch.
  int64_t batches() const;
  const Dataset& dataset() const;
  const LoaderOptions& options() const;
  /// The indices of an epoch's samples, in order, [size()].
  std::vector<int64_t> order(int64_t epoch) const;

  /// Batches first_batch, …, batches() − 1 of an epoch.
  BatchRange epoch(int64_t epoch, int64_t first_batch = 0) const;
  /// The same batches, staged.
  StagedRange staged(int64_t epoch, int64_t first_batch = 0) const;
  /// Makes a batch on the loader's device from a staged one.
  Batch make(const StagedBatch& staged) const;

  /// Starts the next epoch: 0 in the first call, then 1, 2, … Each has its own workers, while its iterator lives.
  BatchRange::Iterator begin();
  std::default_sentinel_t end() const { return {}; }

 private:
  friend class BatchSlot;
  std::shared_ptr<const BatchSource> source_;
  int64_t next_epoch_ = 0;
};

}  // namespace fulcrum
