// Loader: batches of a data set, augmented and normalised, made ahead of time on worker threads.
//
//   Loader loader(train, {.batch_size = 128, .indices = subset, .shuffle = true,
//                         .augment = {.pad = 4, .flip = true, .seed = 1},
//                         .mean = stats.mean, .stddev = stats.stddev, .seed = 1});
//   for (int64_t epoch = 0; epoch < 200; epoch++)
//     for (const Batch& batch : loader.epoch(epoch)) …     // or: for (Batch batch : loader) …
//   for (const Batch& batch : loader.epoch(17, /*first_batch=*/42)) …   // resumes there, bit for bit
//
// Every batch is a pure function of the options, the epoch and its number in the epoch: of the
// number of workers, of what was loaded before and of the machine nothing shows.
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
  Tensor labels;   // i64 [B], noisy where the data set's labels are
  Tensor indices;  // i64 [B], of the samples in the data set
  Tensor groups;   // i64 [B]; the labels where the data set has no groups
  // With LoaderOptions::mix, else undefined: what each image was mixed with, and how much is its own.
  Tensor other_labels;  // i64 [B]
  Tensor share;         // f32 [B], in [0, 1]
  int64_t size = 0;
  int64_t total = 0;  // samples in all parts of the batch: LoaderOptions::parts
};

/// What a batch is made of, in the host's memory: pinned where the loader's device is a GPU.
struct StagedBatch {
  Tensor columns;  // i64 [rows, B]: BatchColumn of batch_source.h; B with BatchSource::neighbours()
  Tensor pixels;   // u8 [B, H, W, C]; undefined where the data set's images are in memory
  int64_t size = 0;
  int64_t total = 0;
};

struct LoaderOptions {
  int64_t batch_size = 128;
  /// Samples to visit; none given: all of them.
  std::optional<std::vector<int64_t>> indices = {};
  bool shuffle = false;
  /// Of every batch this loader makes slice number `part` of `parts` (slice_of in communicator.h): those of all parts,
  /// in order, are the batch of one loader with parts = 1, bit for bit. A part without samples, of a last batch that
  /// has fewer than `parts`, holds the first of the batch.
  int part = 0, parts = 1;
  /// Leaves out the last batch of an epoch where it is smaller than the others.
  bool drop_last = false;
  /// Random crop of the padded image, flip and rotation; the default is none. Drawn from (augment.seed,
  /// epoch, position in the epoch).
  AugmentOptions augment = {};
  /// Random parts of the images (Dataset::original) instead of what read() gives; before `augment`, drawn
  /// from augment.seed likewise, on the workers.
  std::optional<ResizedCropOptions> resized_crop = {};
  /// Instead: the images with a shorter side of this many pixels, at least those of image_shape(), of which
  /// a random part is cut out; 0: does not.
  int64_t random_crop_size = 0;
  /// Colours and RandAugment after crop and flip and before the rotation; drawn from augment.seed, too, on the workers.
  ColorJitterOptions color_jitter = {};
  RandAugmentOptions rand_augment = {};
  /// Mixes the images of a batch; drawn from augment.seed and the counter of its first sample.
  MixOptions mix = {};
  /// For each channel, in units of pixel / 255. Empty: 0 and 1.
  std::vector<double> mean = {}, stddev = {};
  uint64_t seed = 0;  // of the shuffle
  DType dtype = DType::kF32;
  Device device = {};
  /// Threads that make batches; 0: the thread that asks for them.
  int workers = 1;
  int prefetch = 2;  // batches that each worker may be ahead
  /// Replaces indices, shuffle and seed.
  std::optional<Sampler> sampler = {};
};

class BatchSource;  // batch_source.h

/// Batches of this size that so many samples make, the last one smaller or dropped.
inline int64_t batches_of(int64_t samples, int64_t batch_size, bool drop_last) {
  return (samples + (drop_last ? 0 : batch_size - 1)) / batch_size;
}

/// The batches of one epoch, once through. Ends its threads when it is destroyed, also half-way.
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

  /// Makes the first batch; the iterator is valid while the range is and is not moved.
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

/// The batches of one epoch as they are staged, for BatchSlot (batch_slot.h).
class StagedRange {
 public:
  StagedRange(std::shared_ptr<const BatchSource> source, int64_t epoch, int64_t first_batch);
  StagedRange(StagedRange&&) noexcept;
  StagedRange& operator=(StagedRange&&) noexcept;
  ~StagedRange();
  /// Nothing after the last.
  std::optional<StagedBatch> next();

 private:
  struct Work;
  std::unique_ptr<Work> work_;
};

class Loader {
 public:
  /// The data set is not copied: it must outlive the loader and its ranges. An Error for options
  /// that make no sense, with the option's name.
  Loader(const Dataset& dataset, LoaderOptions options);
  Loader(const Dataset&&, LoaderOptions) = delete;

  /// Samples an epoch, without those that drop_last leaves out.
  int64_t size() const;
  /// Batches an epoch.
  int64_t batches() const;
  const Dataset& dataset() const;
  const LoaderOptions& options() const;
  /// Indices of the samples of an epoch in their order, [size()].
  std::vector<int64_t> order(int64_t epoch) const;

  /// Batches first_batch, …, batches() − 1 of an epoch.
  BatchRange epoch(int64_t epoch, int64_t first_batch = 0) const;
  /// The same batches, staged.
  StagedRange staged(int64_t epoch, int64_t first_batch = 0) const;
  /// A staged batch on the loader's device.
  Batch make(const StagedBatch& staged) const;

  /// Epoch 0 the first time, then 1, 2, …, each with workers of its own while its iterator lives.
  BatchRange::Iterator begin();
  std::default_sentinel_t end() const { return {}; }

 private:
  friend class BatchSlot;
  std::shared_ptr<const BatchSource> source_;
  int64_t next_epoch_ = 0;
};

}  // namespace fulcrum
