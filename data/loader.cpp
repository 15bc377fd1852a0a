#include <fulcrum/data/loader.h>

#include <algorithm>
#include <utility>

#include <fulcrum/data/prefetch.h>

namespace fulcrum {

namespace {

/// A batch before its images are made.
struct StagedBatch {
  Batch batch;
  Tensor pixels;    // u8 [B or N, H, W, C] to take them from
  Tensor rows;      // i64 [B], into pixels
  Tensor counters;  // i64 [B], of the augmentation
};

Tensor to_tensor(std::span<const int64_t> values) {
  Tensor t = empty({std::ssize(values)}, {.dtype = DType::kI64, .device = {}});
  std::ranges::copy(values, t.data<int64_t>());
  return t;
}

Tensor per_channel(const std::vector<double>& values, double otherwise, int64_t channels,
                   const char* name, Device device) {
  check(values.empty() || std::ssize(values) == channels, "[loader] expected ", name, " of ",
        channels, " channels, got ", values.size());
  const std::vector<double> full(static_cast<size_t>(channels), otherwise);
  return from_vector({channels}, values.empty() ? full : values).to(device);
}

void check_options(const LoaderOptions& o) {
  check(o.batch_size >= 1, "[loader] expected a batch_size of at least 1, got ", o.batch_size);
  check(o.workers >= 0 && o.workers <= 1024, "[loader] expected 0 to 1024 workers, got ",
        o.workers);
  check(o.prefetch >= 1 && o.prefetch <= 1024, "[loader] expected a prefetch of 1 to 1024, got ",
        o.prefetch);
  check(o.augment.pad >= 0, "[loader] expected an augment.pad of 0 or more, got ", o.augment.pad);
  check(is_floating(o.dtype), "[loader] expected images of a floating dtype, got ", o.dtype);
  check(!o.sampler || (!o.indices && !o.shuffle),
        "[loader] expected either a sampler or indices and shuffle, got both");
  check(!o.indices || !o.indices->empty(), "[loader] expected at least one index, got none");
  for (const double s : o.stddev)
    check(s > 0, "[loader] expected a stddev above 0 for each channel, got ", s);
}

Sampler choose_sampler(const Dataset& dataset, const LoaderOptions& o) {
  if (o.sampler) return *o.sampler;
  std::vector<int64_t> indices = o.indices ? *o.indices : all_indices(dataset.size());
  return o.shuffle ? shuffle_sampler(std::move(indices), o.seed)
                   : sequential_sampler(std::move(indices));
}

}  // namespace

/// What the ranges of a loader share: everything that does not change.
class BatchSource {
 public:
  BatchSource(const Dataset& dataset, LoaderOptions options)
      : dataset_(dataset), options_(std::move(options)) {
    check_options(options_);
    sampler_ = choose_sampler(dataset, options_);
    check(sampler_.size > 0 && sampler_.draw, "[loader] expected a sampler with a size and a draw");
    check(batches() > 0, "[loader] drop_last leaves nothing of ", sampler_.size,
          " samples in batches of ", options_.batch_size);
    const int64_t channels = dataset.image_shape()[2];
    mean_ = per_channel(options_.mean, 0, channels, "means", options_.device);
    stddev_ = per_channel(options_.stddev, 1, channels, "stddevs", options_.device);
    images_ = dataset.images();
    if (images_) images_ = images_.to(options_.device);
    if (options_.indices) check_indices(*options_.indices);
  }

  const Dataset& dataset() const { return dataset_; }
  const LoaderOptions& options() const { return options_; }
  int64_t batches() const {
    const int64_t rounding = options_.drop_last ? 0 : options_.batch_size - 1;
    return (sampler_.size + rounding) / options_.batch_size;
  }
  int64_t size() const { return std::min(sampler_.size, batches() * options_.batch_size); }

  std::vector<int64_t> order(int64_t epoch) const {
    check(epoch >= 0 && epoch < (int64_t{1} << 31), "[loader] expected an epoch in [0, 2^31), got ",
          epoch);
    std::vector<int64_t> order = sampler_.draw(epoch);
    check(std::ssize(order) == sampler_.size, "[loader] the sampler drew ", order.size(),
          " samples for epoch ", epoch, ", expected its size, ", sampler_.size);
    if (options_.sampler) check_indices(order);
    order.resize(static_cast<size_t>(size()));
    return order;
  }

  /// Batch `number` of the epoch with this order, on the CPU, without its images.
  StagedBatch stage(const std::vector<int64_t>& order, int64_t epoch, int64_t number) const {
    const int64_t first = number * options_.batch_size;
    const int64_t n = std::min(options_.batch_size, std::ssize(order) - first);
    const auto samples =
        std::span(order).subspan(static_cast<size_t>(first), static_cast<size_t>(n));
    StagedBatch staged;
    staged.batch.size = n;
    staged.batch.indices = to_tensor(samples);
    staged.batch.labels = to_tensor(gather(dataset_.labels(), samples));
    const bool own_groups = &dataset_.groups() != &dataset_.labels();
    staged.batch.groups =
        own_groups ? to_tensor(gather(dataset_.groups(), samples)) : staged.batch.labels;
    std::vector<int64_t> counters = all_indices(n);
    for (int64_t& counter : counters) counter += (epoch << 32) + first;
    staged.counters = to_tensor(counters);
    if (images_) {
      staged.pixels = images_;
      staged.rows = staged.batch.indices;
    } else {
      read_pixels(staged, samples);
    }
    return staged;
  }

  /// Makes the images, on the loader's device and the calling thread.
  Batch finish(StagedBatch staged) const {
    const Device device = options_.device;
    Batch batch = std::move(staged.batch);
    const Shape& image = dataset_.image_shape();
    batch.images = empty({batch.size, image[0], image[1], image[2]}, {options_.dtype, device});
    const Tensor pixels = staged.pixels.to(device), rows = staged.rows.to(device);
    const Tensor counters = staged.counters.to(device);
    dispatch(device, [&]<class K>() {
      K::augment(batch.images, pixels, rows, counters, mean_, stddev_, options_.augment);
    });
    batch.labels = batch.labels.to(device);
    batch.indices = batch.indices.to(device);
    batch.groups = batch.groups.to(device);
    return batch;
  }

 private:
  void check_indices(const std::vector<int64_t>& indices) const {
    for (const int64_t i : indices)
      check(i >= 0 && i < dataset_.size(), "[loader] index ", i, " is outside [0, ",
            dataset_.size(), "), the samples of the data set");
  }

  void read_pixels(StagedBatch& staged, std::span<const int64_t> samples) const {
    const Shape& image = dataset_.image_shape();
    const int64_t n = std::ssize(samples);
    staged.pixels = empty({n, image[0], image[1], image[2]}, {.dtype = DType::kU8, .device = {}});
    staged.rows = to_tensor(all_indices(n));
    uint8_t* out = staged.pixels.data<uint8_t>();
    for (const int64_t sample : samples) {
      dataset_.read(sample, out);
      out += image.numel();
    }
  }

  const Dataset& dataset_;
  LoaderOptions options_;
  Sampler sampler_;
  Tensor mean_, stddev_;  // f32 [C]
  Tensor images_;  // u8 [N, H, W, C] on the device; undefined where images are read one by one
};

/// Heap-allocated, so that threads may hold on to it while its range moves.
struct BatchRange::Work {
  std::shared_ptr<const BatchSource> source;
  std::vector<int64_t> order;
  Prefetcher<StagedBatch> staged;

  // A kernel on a device runs in the stream of its calling thread: that is the consumer's job. The
  // CPU's kernels run ahead, on the worker.
  Work(std::shared_ptr<const BatchSource> s, int64_t epoch, int64_t first)
      : source(std::move(s)),
        order(source->order(epoch)),
        staged(first, source->batches(), source->options().workers,
               source->options().workers * source->options().prefetch, [this, epoch](int64_t k) {
                 StagedBatch batch = source->stage(order, epoch, k);
                 if (source->options().device.is_cpu())
                   batch.batch = source->finish(std::move(batch));
                 return batch;
               }) {}

  Batch next() {
    std::optional<StagedBatch> batch = staged.next();
    if (!batch) return {};
    return batch->batch.images ? std::move(batch->batch) : source->finish(std::move(*batch));
  }
};

BatchRange::BatchRange(std::shared_ptr<const BatchSource> source, int64_t epoch,
                       int64_t first_batch) {
  check(first_batch >= 0 && first_batch <= source->batches(),
        "[loader] expected a first_batch in [0, ", source->batches(), "], got ", first_batch);
  work_ = std::make_unique<Work>(std::move(source), epoch, first_batch);
}
BatchRange::BatchRange(BatchRange&&) noexcept = default;
BatchRange& BatchRange::operator=(BatchRange&&) noexcept = default;
BatchRange::~BatchRange() = default;

BatchRange::Iterator BatchRange::begin() {
  advance();
  return Iterator(this);
}

void BatchRange::advance() {
  current_ = {};  // back to the pool before the next one is taken from it
  current_ = work_->next();
}

Loader::Loader(const Dataset& dataset, LoaderOptions options)
    : source_(std::make_shared<BatchSource>(dataset, std::move(options))) {}

int64_t Loader::size() const {
  return source_->size();
}
int64_t Loader::batches() const {
  return source_->batches();
}
const Dataset& Loader::dataset() const {
  return source_->dataset();
}
const LoaderOptions& Loader::options() const {
  return source_->options();
}
std::vector<int64_t> Loader::order(int64_t epoch) const {
  return source_->order(epoch);
}

BatchRange Loader::epoch(int64_t epoch, int64_t first_batch) const {
  return {source_, epoch, first_batch};
}

BatchRange::Iterator Loader::begin() {
  range_.reset();
  range_ = std::make_unique<BatchRange>(source_, next_epoch_++, 0);
  return range_->begin();
}

}  // namespace fulcrum
