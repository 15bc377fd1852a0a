#include <fulcrum/data/loader.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <utility>

#include <fulcrum/core/communicator.h>
#include <fulcrum/core/kernels.h>
#include <fulcrum/core/mix_rules.h>
#include <fulcrum/data/batch_source.h>
#include <fulcrum/data/prefetch.h>
#include <fulcrum/data/resident_images.h>

namespace fulcrum {

namespace {

Tensor to_tensor(std::span<const int64_t> values) {
  Tensor t = empty({std::ssize(values)}, {.dtype = DType::kI64, .device = {}});
  std::ranges::copy(values, t.data<int64_t>());
  return t;
}

/// Allocates a tensor in host memory; it is pinned if `device` is a GPU, so that copies to it run asynchronously.
Tensor host_tensor(const Shape& shape, DType dtype, Device device) {
  const size_t bytes = static_cast<size_t>(shape.numel()) * size_of(dtype);
  // A worker thread has not chosen a device yet, and pinning memory would initialise device 0.
  if (!device.is_cpu()) cuda::use_device(device.index);
  return Tensor(device.is_cpu() ? Storage::allocate(device, bytes) : Storage::allocate_pinned(bytes), 0, shape, dtype);
}

Tensor per_channel(const std::vector<double>& values, double otherwise, int64_t channels, const char* name,
                   Device device) {
  check(values.empty() || std::ssize(values) == channels, "[loader] expected ", name, " of ", channels,
        " channels, got ", values.size());
  const std::vector<double> full(static_cast<size_t>(channels), otherwise);
  return from_vector({channels}, values.empty() ? full : values).to(device);
}

constexpr const char* kOfPixels = "; statistics of pixels from 0 to 255 are to be divided by 255";

void check_options(const LoaderOptions& o) {
  check(o.batch_size >= 1, "[loader] expected a batch_size of at least 1, got ", o.batch_size);
  check(o.part >= 0 && o.part < o.parts && o.batch_size % o.parts == 0,
        "[loader] expected a batch_size that is a multiple of parts and a part below it, got batch_size ", o.batch_size,
        ", part ", o.part, " of ", o.parts);
  check(o.workers >= 0 && o.workers <= 1024, "[loader] expected 0 to 1024 workers, got ", o.workers);
  check(o.prefetch >= 1 && o.prefetch <= 1024, "[loader] expected a prefetch of 1 to 1024, got ", o.prefetch);
  check(o.augment.pad >= 0, "[loader] expected an augment.pad of 0 or more, got ", o.augment.pad);
  check(o.augment.rotation >= 0 && o.augment.rotation <= 180,
        "[loader] expected an augment.rotation in [0, 180] degrees, got ", o.augment.rotation);
  const EraseOptions& e = o.augment.erase;
  check(e.probability >= 0 && e.probability <= 1 && e.area_min > 0 && e.area_min <= e.area_max && e.area_max <= 1 &&
            e.ratio_min > 0 && e.ratio_min <= e.ratio_max,
        "[loader] expected an augment.erase with a probability in [0, 1], 0 < area_min <= area_max <= 1 and "
        "0 < ratio_min <= ratio_max");
  if (const auto& crop = o.resized_crop)
    check(crop->min_scale > 0 && crop->min_scale <= crop->max_scale && crop->max_scale <= 1 && crop->min_ratio > 0 &&
              crop->min_ratio <= crop->max_ratio,
          "[loader] expected a resized_crop with 0 < min_scale <= max_scale <= 1 and 0 < min_ratio <= max_ratio");
  check(o.random_crop_size == 0 || !o.resized_crop,
        "[loader] expected either a resized_crop or a random_crop_size, got both");
  const ColorJitterOptions& j = o.color_jitter;
  check(j.brightness >= 0 && j.contrast >= 0 && j.saturation >= 0 && j.hue >= 0 && j.hue <= 0.5,
        "[loader] expected a color_jitter of at least 0 each, and a hue of at most 0.5");
  check(o.rand_augment.ops >= 0 && o.rand_augment.ops <= kMaxRandAugmentOps && o.rand_augment.magnitude >= 0 &&
            o.rand_augment.magnitude < kRandAugmentBins,
        "[loader] expected a rand_augment of 0 to ", kMaxRandAugmentOps, " ops of a magnitude of 0 to ",
        kRandAugmentBins - 1, ", got ", o.rand_augment.ops, " of ", o.rand_augment.magnitude);
  check(o.mix.mixup_alpha >= 0 && o.mix.cutmix_alpha >= 0 && o.mix.probability >= 0 && o.mix.probability <= 1 &&
            o.mix.switch_probability >= 0 && o.mix.switch_probability <= 1,
        "[loader] expected a mix with alphas of at least 0 and probabilities in [0, 1]");
  check(is_floating(o.dtype), "[loader] expected images of a floating dtype, got ", o.dtype);
  check(!o.sampler || (!o.indices && !o.shuffle),
        "[loader] expected either a sampler or indices and shuffle, got both");
  check(!o.indices || !o.indices->empty(), "[loader] expected at least one index, got none");
  // The mean of white images may be 1 and a rounding.
  for (const double m : o.mean)
    check(m >= 0 && m <= 1 + 1e-9, "[loader] expected a mean in [0, 1] for each channel, got ", m, kOfPixels);
  for (const double s : o.stddev) {
    check(s > 0, "[loader] expected a stddev above 0 for each channel, got ", s);
    check(s <= 1, "[loader] expected a stddev of at most 1 for each channel, got ", s, kOfPixels);
  }
}

Sampler choose_sampler(const Dataset& dataset, const LoaderOptions& o) {
  if (o.sampler) return *o.sampler;
  std::vector<int64_t> indices = o.indices ? *o.indices : all_indices(dataset.size());
  return o.shuffle ? shuffle_sampler(std::move(indices), o.seed) : sequential_sampler(std::move(indices));
}

}  // namespace

BatchSource::BatchSource(const Dataset& dataset, LoaderOptions options)
    : dataset_(dataset), options_(std::move(options)), reader_(dataset, options_) {
  check_options(options_);
  const Shape& image = dataset.image_shape();
  check(options_.random_crop_size == 0 || options_.random_crop_size >= std::max(image[0], image[1]),
        "[loader] expected a random_crop_size of at least the images' ", image[0], "x", image[1], ", got ",
        options_.random_crop_size);
  check(options_.augment.pad < std::min(image[0], image[1]),  // crops could be outside the image
        "[loader] expected an augment.pad below the images' shorter side, they are ", image[0], "x", image[1],
        " (height x width), got ", options_.augment.pad);
  sampler_ = choose_sampler(dataset, options_);
  check(sampler_.size > 0 && sampler_.draw, "[loader] expected a sampler with a size and a draw");
  check(batches() > 0, "[loader] drop_last leaves nothing of ", sampler_.size, " samples in batches of ",
        options_.batch_size);
  const int64_t channels = image[2];
  mean_ = per_channel(options_.mean, 0, channels, "means", options_.device);
  stddev_ = per_channel(options_.stddev, 1, channels, "stddevs", options_.device);
  if (!reader_.needed()) images_ = resident_images(dataset, options_.device);
  if (!images_) first_rows_ = to_tensor(all_indices(options_.batch_size)).to(options_.device);
  if (options_.indices) check_indices(*options_.indices);
}

int64_t BatchSource::batches() const { return batches_of(sampler_.size, options_.batch_size, options_.drop_last); }

std::vector<int64_t> BatchSource::order(int64_t epoch) const {
  check(epoch >= 0 && epoch < (int64_t{1} << 31), "[loader] expected an epoch in [0, 2^31), got ", epoch);
  std::vector<int64_t> order = sampler_.draw(epoch);
  check(std::ssize(order) == sampler_.size, "[loader] the sampler drew ", order.size(), " samples for epoch ", epoch,
        ", expected its size, ", sampler_.size);
  if (options_.sampler) check_indices(order);
  order.resize(static_cast<size_t>(size()));
  return order;
}

StagedBatch BatchSource::stage(const std::vector<int64_t>& order, int64_t epoch, int64_t number) const {
  StagedBatch staged;
  staged.total = std::min(options_.batch_size, std::ssize(order) - number * options_.batch_size);
  Slice part = slice_of(staged.total, options_.part, options_.parts);
  if (part.size() == 0) part = {0, 1};
  staged.size = part.size();
  const int64_t first = number * options_.batch_size, n = staged.size + neighbours();
  std::vector<int64_t> positions(static_cast<size_t>(n));
  std::iota(positions.begin(), positions.end(), first + part.begin);
  if (neighbours() > 0) positions.back() = first + (part.begin + staged.total - 1) % staged.total;
  const std::vector<int64_t> samples = gather(order, positions);
  staged.columns = host_tensor({column_rows(), n}, DType::kI64, options_.device);
  int64_t* column = staged.columns.data<int64_t>();
  std::ranges::copy(samples, column + kIndices * n);
  std::ranges::copy(gather(dataset_.labels(), samples), column + kLabels * n);
  std::ranges::copy(gather(dataset_.groups(), samples), column + kGroups * n);
  const std::span counters(column + kCounters * n, static_cast<size_t>(n));
  std::ranges::transform(positions, counters.begin(), [&](int64_t position) { return (epoch << 32) + position; });
  if (options_.mix.any()) plan_mix(column, n, static_cast<uint64_t>((epoch << 32) + first));
  if (!images_) staged.pixels = read_pixels(samples, counters);
  return staged;
}

int64_t BatchSource::column_rows() const {
  return options_.mix.any() ? int64_t{kMixPlan} + kMixRows : int64_t{kPlainColumns};
}

void BatchSource::plan_mix(int64_t* columns, int64_t n, uint64_t counter) const {
  const int64_t* labels = columns + kLabels * n;
  std::rotate_copy(labels, labels + n - 1, labels + n, columns + kOtherLabels * n);
  const Shape& image = dataset_.image_shape();
  const MixDraw draw =
      draw_mix(options_.mix, {image[0], image[1]}, Philox(options_.augment.seed, streams::kMix), counter);
  const auto units = [](double share) { return std::llround(share * static_cast<double>(kMixUnit)); };
  const int64_t rows[kMixRows] = {
      units(draw.pixel_share), units(draw.label_share),        draw.box.top,
      draw.box.left,           draw.box.top + draw.box.height, draw.box.left + draw.box.width};
  for (int64_t i = 0; i < kMixRows; i++) std::fill_n(columns + (kMixPlan + i) * n, n, rows[i]);
}

Batch BatchSource::batch_of(const Tensor& columns) const {
  const Shape& image = dataset_.image_shape();
  Batch batch;
  batch.size = columns.size(1) - neighbours();
  batch.images = empty({batch.size, image[0], image[1], image[2]}, {options_.dtype, options_.device});
  const auto column = [&](BatchColumn which) { return batch_column(columns, which).slice(0, batch.size); };
  batch.labels = column(kLabels);
  batch.indices = column(kIndices);
  batch.groups = column(kGroups);
  if (!options_.mix.any()) return batch;
  batch.other_labels = column(kOtherLabels);
  batch.share = empty({batch.size}, {DType::kF32, options_.device});
  return batch;
}

void BatchSource::make_images(Batch& batch, const Tensor& columns, const Tensor& pixels) const {
  const Tensor rows = pixels ? first_rows_.slice(0, columns.size(1)) : batch_column(columns, kIndices);
  const bool mixes = options_.mix.any();
  // Images to be mixed are f32, whatever the batch's dtype is.
  const Shape& image = dataset_.image_shape();
  Tensor images =
      mixes ? empty({rows.numel(), image[0], image[1], image[2]}, {DType::kF32, options_.device}) : batch.images;
  dispatch(images, [&]<class K>() {
    K::augment(images, pixels ? pixels : images_, rows, batch_column(columns, kCounters), mean_, stddev_,
               reader_.kernel_options());
    if (mixes) K::mix(batch.images, batch.share, images, columns.slice(kMixPlan, column_rows()));
  });
}

Batch BatchSource::finish(const StagedBatch& staged) const {
  const Tensor columns = staged.columns.to(options_.device);
  Batch batch = batch_of(columns);
  batch.total = staged.total;
  make_images(batch, columns, staged.pixels ? staged.pixels.to(options_.device) : Tensor());
  return batch;
}

void BatchSource::check_indices(const std::vector<int64_t>& indices) const {
  for (const int64_t i : indices)
    check(i >= 0 && i < dataset_.size(), "[loader] index ", i, " is outside [0, ", dataset_.size(),
          "), the samples of the data set");
}

Tensor BatchSource::read_pixels(std::span<const int64_t> samples, std::span<const int64_t> counters) const {
  const Shape& image = dataset_.image_shape();
  Tensor pixels = host_tensor({std::ssize(samples), image[0], image[1], image[2]}, DType::kU8, options_.device);
  uint8_t* out = pixels.data<uint8_t>();
  for (size_t i = 0; i < samples.size(); i++) {
    reader_.read(samples[i], static_cast<uint64_t>(counters[i]), out);
    out += image.numel();
  }
  return pixels;
}

namespace {

/// Makes the items of a range ahead on the loader's workers, from the staged batches of an epoch. Allocated on the
/// heap, because the threads hold a pointer to it while its range may be moved.
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

// CPU kernels run ahead, on the worker. Kernels on a GPU run in the stream of the calling thread, so the consumer
// launches them.
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

BatchRange::BatchRange(std::shared_ptr<const BatchSource> source, int64_t epoch, int64_t first_batch)
    : work_(std::make_unique<Work>(std::move(source), epoch, first_batch)) {}
BatchRange::BatchRange(BatchRange&&) noexcept = default;
BatchRange& BatchRange::operator=(BatchRange&&) noexcept = default;
BatchRange::~BatchRange() = default;

BatchRange::Iterator BatchRange::begin() {
  advance();
  return Iterator(std::shared_ptr<BatchRange>(std::shared_ptr<void>(), this));  // a non-owning pointer
}

void BatchRange::advance() {
  current_ = {};  // return its memory to the pool before the next batch is allocated
  current_ = work_->next();
}

Loader::Loader(const Dataset& dataset, LoaderOptions options)
    : source_(std::make_shared<BatchSource>(dataset, std::move(options))) {}

int64_t Loader::size() const { return source_->size(); }
int64_t Loader::batches() const { return source_->batches(); }
const Dataset& Loader::dataset() const { return source_->dataset(); }
const LoaderOptions& Loader::options() const { return source_->options(); }
std::vector<int64_t> Loader::order(int64_t epoch) const { return source_->order(epoch); }

BatchRange Loader::epoch(int64_t epoch, int64_t first_batch) const { return {source_, epoch, first_batch}; }

StagedRange Loader::staged(int64_t epoch, int64_t first_batch) const { return {source_, epoch, first_batch}; }

Batch Loader::make(const StagedBatch& staged) const { return source_->finish(staged); }

BatchRange::Iterator Loader::begin() {
  auto range = std::make_shared<BatchRange>(source_, next_epoch_++, 0);
  range->advance();
  return BatchRange::Iterator(std::move(range));
}

}  // namespace fulcrum
