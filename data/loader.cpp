#include <fulcrum/data/loader.h>

#include <algorithm>
#include <numeric>
#include <span>
#include <utility>

#include <fulcrum/core/communicator.h>
#include <fulcrum/data/batch_source.h>
#include <fulcrum/data/prefetch.h>

namespace fulcrum {

namespace {

Tensor to_tensor(std::span<const int64_t> values) {
  Tensor t = empty({std::ssize(values)}, {.dtype = DType::kI64, .device = {}});
  std::ranges::copy(values, t.data<int64_t>());
  return t;
}

/// In the host's memory, from where `device` can copy while the host goes on.
Tensor host_tensor(const Shape& shape, DType dtype, Device device) {
  const size_t bytes = static_cast<size_t>(shape.numel()) * size_of(dtype);
  return Tensor(device.is_cpu() ? Storage::allocate(device, bytes) : Storage::allocate_pinned(bytes), 0, shape,
                dtype);
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
  check(o.part >= 0 && o.part < o.parts && o.batch_size % o.parts == 0,
        "[loader] expected a batch_size that is a multiple of parts and a part below it, got batch_size ", o.batch_size,
        ", part ", o.part, " of ", o.parts);
  check(o.workers >= 0 && o.workers <= 1024, "[loader] expected 0 to 1024 workers, got ",
        o.workers);
  check(o.prefetch >= 1 && o.prefetch <= 1024, "[loader] expected a prefetch of 1 to 1024, got ",
        o.prefetch);
  check(o.augment.pad >= 0, "[loader] expected an augment.pad of 0 or more, got ", o.augment.pad);
  check(o.augment.rotation >= 0 && o.augment.rotation <= 180,
        "[loader] expected an augment.rotation in [0, 180] degrees, got ", o.augment.rotation);
  if (const auto& crop = o.resized_crop)
    check(crop->min_scale > 0 && crop->min_scale <= crop->max_scale && crop->max_scale <= 1 && crop->min_ratio > 0 &&
              crop->min_ratio <= crop->max_ratio,
          "[loader] expected a resized_crop with 0 < min_scale <= max_scale <= 1 and 0 < min_ratio <= max_ratio");
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

BatchSource::BatchSource(const Dataset& dataset, LoaderOptions options)
    : dataset_(dataset), options_(std::move(options)) {
  check_options(options_);
  sampler_ = choose_sampler(dataset, options_);
  check(sampler_.size > 0 && sampler_.draw, "[loader] expected a sampler with a size and a draw");
  check(batches() > 0, "[loader] drop_last leaves nothing of ", sampler_.size,
        " samples in batches of ", options_.batch_size);
  const int64_t channels = dataset.image_shape()[2];
  mean_ = per_channel(options_.mean, 0, channels, "means", options_.device);
  stddev_ = per_channel(options_.stddev, 1, channels, "stddevs", options_.device);
  if (!options_.resized_crop) images_ = dataset.images();
  if (images_) images_ = images_.to(options_.device);
  else first_rows_ = to_tensor(all_indices(options_.batch_size)).to(options_.device);
  if (options_.indices) check_indices(*options_.indices);
}

int64_t BatchSource::batches() const {
  const int64_t rounding = options_.drop_last ? 0 : options_.batch_size - 1;
  return (sampler_.size + rounding) / options_.batch_size;
}

std::vector<int64_t> BatchSource::order(int64_t epoch) const {
  check(epoch >= 0 && epoch < (int64_t{1} << 31), "[loader] expected an epoch in [0, 2^31), got ",
        epoch);
  std::vector<int64_t> order = sampler_.draw(epoch);
  check(std::ssize(order) == sampler_.size, "[loader] the sampler drew ", order.size(),
        " samples for epoch ", epoch, ", expected its size, ", sampler_.size);
  if (options_.sampler) check_indices(order);
  order.resize(static_cast<size_t>(size()));
  return order;
}

StagedBatch BatchSource::stage(const std::vector<int64_t>& order, int64_t epoch, int64_t number) const {
  StagedBatch staged;
  staged.total = std::min(options_.batch_size, std::ssize(order) - number * options_.batch_size);
  Slice part = slice_of(staged.total, options_.part, options_.parts);
  if (part.size() == 0) part = {0, 1};
  const int64_t first = number * options_.batch_size + part.begin, n = part.size();
  const auto samples = std::span(order).subspan(static_cast<size_t>(first), static_cast<size_t>(n));
  staged.size = n;
  staged.columns = host_tensor({kBatchColumns, n}, DType::kI64, options_.device);
  int64_t* column = staged.columns.data<int64_t>();
  std::ranges::copy(samples, column + kIndices * n);
  std::ranges::copy(gather(dataset_.labels(), samples), column + kLabels * n);
  std::ranges::copy(gather(dataset_.groups(), samples), column + kGroups * n);
  std::iota(column + kCounters * n, column + kBatchColumns * n, (epoch << 32) + first);
  if (!images_) staged.pixels = read_pixels(samples, static_cast<uint64_t>((epoch << 32) + first));
  return staged;
}

void BatchSource::make_images(Tensor& images, const Tensor& columns, const Tensor& pixels) const {
  const Tensor rows = pixels ? first_rows_.slice(0, columns.size(1)) : batch_column(columns, kIndices);
  dispatch(options_.device, [&]<class K>() {
    K::augment(images, pixels ? pixels : images_, rows, batch_column(columns, kCounters), mean_, stddev_,
               options_.augment);
  });
}

Batch BatchSource::finish(const StagedBatch& staged) const {
  const Device device = options_.device;
  const Tensor columns = staged.columns.to(device);
  const Shape& image = dataset_.image_shape();
  Batch batch;
  batch.size = staged.size;
  batch.total = staged.total;
  batch.images = empty({batch.size, image[0], image[1], image[2]}, {options_.dtype, device});
  make_images(batch.images, columns, staged.pixels ? staged.pixels.to(device) : Tensor());
  batch.labels = batch_column(columns, kLabels);
  batch.indices = batch_column(columns, kIndices);
  batch.groups = batch_column(columns, kGroups);
  return batch;
}

void BatchSource::check_indices(const std::vector<int64_t>& indices) const {
  for (const int64_t i : indices)
    check(i >= 0 && i < dataset_.size(), "[loader] index ", i, " is outside [0, ", dataset_.size(),
          "), the samples of the data set");
}

Tensor BatchSource::read_pixels(std::span<const int64_t> samples, uint64_t counter) const {
  const Shape& image = dataset_.image_shape();
  Tensor pixels = host_tensor({std::ssize(samples), image[0], image[1], image[2]}, DType::kU8, options_.device);
  uint8_t* out = pixels.data<uint8_t>();
  for (const int64_t sample : samples) {
    if (options_.resized_crop) read_crop(sample, counter++, out);
    else dataset_.read(sample, out);
    out += image.numel();
  }
  return pixels;
}

void BatchSource::read_crop(int64_t sample, uint64_t counter, uint8_t* out) const {
  const Shape& shape = dataset_.image_shape();
  const Philox philox(options_.augment.seed, streams::kResizedCrop);
  ImageSize full;
  CropBox box;
  const auto draw = [&](ImageSize size) {  // also asked before an image is decoded to less than its size
    full = size;
    box = random_crop_box(size, *options_.resized_crop, philox, counter);
    return std::max(static_cast<double>(shape[0]) / static_cast<double>(box.height),
                    static_cast<double>(shape[1]) / static_cast<double>(box.width));
  };
  const Image image = dataset_.original(sample, draw);
  const ImageSize size = {image.height, image.width};
  if (box.height == 0) draw(size);
  const Image part = resize(crop(image, scaled_box(box, full, size)), shape[0], shape[1]);
  std::ranges::copy(part.pixels, out);
}

namespace {

/// What a range makes ahead on the loader's workers, from the staged batches of an epoch. Heap-allocated,
/// so that threads may hold on to it while its range moves.
template <class T>
struct RangeWork {
  using Make = T (*)(const BatchSource&, StagedBatch);
  std::shared_ptr<const BatchSource> source;
  std::vector<int64_t> order;
  Prefetcher<T> items;

  RangeWork(std::shared_ptr<const BatchSource> s, int64_t epoch, int64_t first, Make make)
      : source(checked(std::move(s), first)),
        order(source->order(epoch)),
        items(first, source->batches(), source->options().workers,
              source->options().workers * source->options().prefetch,
              [this, epoch, make](int64_t k) { return make(*source, source->stage(order, epoch, k)); }) {}

 private:
  static std::shared_ptr<const BatchSource> checked(std::shared_ptr<const BatchSource> s, int64_t first) {
    check(first >= 0 && first <= s->batches(), "[loader] expected a first_batch in [0, ", s->batches(), "], got ",
          first);
    return s;
  }
};

struct StagedOrMade {
  StagedBatch staged;
  Batch batch;
};

// A kernel on a device runs in the stream of its calling thread: that is the consumer's job. The CPU's
// kernels run ahead, on the worker.
StagedOrMade make_ahead(const BatchSource& source, StagedBatch staged) {
  if (!source.options().device.is_cpu()) return {std::move(staged), {}};
  return {{}, source.finish(staged)};
}

}  // namespace

struct BatchRange::Work : RangeWork<StagedOrMade> {
  Work(std::shared_ptr<const BatchSource> s, int64_t epoch, int64_t first)
      : RangeWork(std::move(s), epoch, first, make_ahead) {}

  Batch next() {
    std::optional<StagedOrMade> item = items.next();
    if (!item) return {};
    return item->batch.images ? std::move(item->batch) : source->finish(item->staged);
  }
};

struct StagedRange::Work : RangeWork<StagedBatch> {
  Work(std::shared_ptr<const BatchSource> s, int64_t epoch, int64_t first)
      : RangeWork(std::move(s), epoch, first, [](const BatchSource&, StagedBatch staged) { return staged; }) {}
};

StagedRange::StagedRange(std::shared_ptr<const BatchSource> source, int64_t epoch, int64_t first_batch)
    : work_(std::make_unique<Work>(std::move(source), epoch, first_batch)) {}
StagedRange::StagedRange(StagedRange&&) noexcept = default;
StagedRange& StagedRange::operator=(StagedRange&&) noexcept = default;
StagedRange::~StagedRange() = default;
std::optional<StagedBatch> StagedRange::next() { return work_->items.next(); }

BatchRange::BatchRange(std::shared_ptr<const BatchSource> source, int64_t epoch,
                       int64_t first_batch)
    : work_(std::make_unique<Work>(std::move(source), epoch, first_batch)) {}
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

StagedRange Loader::staged(int64_t epoch, int64_t first_batch) const {
  return {source_, epoch, first_batch};
}

Batch Loader::make(const StagedBatch& staged) const { return source_->finish(staged); }

BatchRange::Iterator Loader::begin() {
  range_.reset();
  range_ = std::make_unique<BatchRange>(source_, next_epoch_++, 0);
  return range_->begin();
}

}  // namespace fulcrum
