// The loader: order, resume, independence of the workers, augmentation, failures, samplers.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <map>
#include <set>
#include <thread>

#include <fulcrum/core/memory.h>
#include <fulcrum/data/imbalance.h>
#include <fulcrum/data/loader.h>
#include <fulcrum/data/prefetch.h>

#include "data_testing.h"

namespace fulcrum {
namespace {

using Ints = std::vector<int64_t>;

Ints ints(const Tensor& t) { return {t.data<int64_t>(), t.data<int64_t>() + t.numel()}; }

struct HostBatch {
  std::vector<double> images;
  Ints labels, indices, groups;
  friend bool operator==(const HostBatch&, const HostBatch&) = default;
};

HostBatch on_host(const Batch& b) { return {b.images.to_vector(), ints(b.labels), ints(b.indices), ints(b.groups)}; }

std::vector<HostBatch> collect(BatchRange range) {
  std::vector<HostBatch> batches;
  for (const Batch& batch : range) batches.push_back(on_host(batch));
  return batches;
}

/// The same images, handed out one by one as a streaming data set does.
class StreamingDataset : public Dataset {
 public:
  explicit StreamingDataset(const InMemoryDataset& data)
      : Dataset(data.image_shape(), data.labels(), data.class_names()), data_(data) {}
  void read(int64_t index, uint8_t* out) const override {
    check(index != broken, "[streaming] image ", index, " does not decode");
    reads++;
    data_.read(index, out);
  }
  int64_t broken = -1;
  mutable std::atomic<int64_t> reads = 0;

 private:
  const InMemoryDataset& data_;
};

LoaderOptions augmented(int workers) {
  return {.batch_size = 7,
          .shuffle = true,
          .augment = {.pad = 1, .flip = true, .seed = 5},
          .mean = {0.5, 0.25},
          .stddev = {0.5, 0.125},
          .seed = 3,
          .workers = workers};
}

TEST(Loader, BatchesAreTheSamplesNormalised) {
  const InMemoryDataset data = small_dataset(10);
  const Loader loader(data, {.batch_size = 4, .mean = {0.5, 0.25}, .stddev = {0.5, 0.125}});
  EXPECT_EQ(loader.batches(), 3);
  EXPECT_EQ(loader.size(), 10);
  int64_t next = 0;
  for (const Batch& batch : loader.epoch(0)) {
    const int64_t n = std::min<int64_t>(4, 10 - next);
    ASSERT_EQ(batch.size, n);
    EXPECT_EQ(batch.images.shape(), Shape({n, 2, 3, 2}));
    EXPECT_EQ(batch.images.dtype(), DType::kF32);
    const std::vector<double> pixels = batch.images.to_vector();
    for (size_t i = 0; i < pixels.size(); i++) {
      const double value = static_cast<double>((static_cast<size_t>(next) * 12 + i) % 256) / 255;
      const double expected = i % 2 == 0 ? (value - 0.5) / 0.5 : (value - 0.25) / 0.125;
      EXPECT_NEAR(pixels[i], expected, 1e-6);
    }
    for (int64_t b = 0; b < n; b++) {
      EXPECT_EQ(ints(batch.indices)[static_cast<size_t>(b)], next + b);
      EXPECT_EQ(ints(batch.labels)[static_cast<size_t>(b)], (next + b) % 4);
    }
    EXPECT_EQ(ints(batch.groups), ints(batch.labels));
    next += n;
  }
  EXPECT_EQ(next, 10);
}

TEST(Loader, LoopsWithinLoopsHaveAnEpochEach) {
  const InMemoryDataset data = small_dataset(10);
  Loader loader(data, {.batch_size = 4, .shuffle = true, .seed = 3, .workers = 1});
  std::vector<Ints> outer, inner;
  for (const Batch& a : loader) {
    outer.push_back(ints(a.indices));
    if (outer.size() == 1)
      for (const Batch& b : loader) inner.push_back(ints(b.indices));
    EXPECT_EQ(ints(a.indices), outer.back());
  }
  const auto epoch = [&](int64_t number) {
    std::vector<Ints> all;
    for (const Batch& batch : loader.epoch(number)) all.push_back(ints(batch.indices));
    return all;
  };
  EXPECT_EQ(outer, epoch(0));
  EXPECT_EQ(inner, epoch(1));
}

TEST(Loader, Bf16AndDropLast) {
  const InMemoryDataset data = small_dataset(10);
  const Loader loader(data, {.batch_size = 4, .drop_last = true, .dtype = DType::kBf16});
  EXPECT_EQ(loader.batches(), 2);
  EXPECT_EQ(loader.size(), 8);
  EXPECT_EQ(loader.order(0).size(), 8u);
  for (const Batch& batch : loader.epoch(0)) {
    EXPECT_EQ(batch.size, 4);
    EXPECT_EQ(batch.images.dtype(), DType::kBf16);
    EXPECT_NEAR(batch.images.to_vector()[5], (12 * static_cast<double>(ints(batch.indices)[0]) + 5) / 255, 2e-3);
  }
}

TEST(Loader, HandsOutNoisyLabelsAndGroups) {
  InMemoryDataset data = small_dataset(4);
  data.set_labels({3, 3, 3, 3});
  data.set_groups({7, 8, 9, 7});
  const auto batches = collect(Loader(data, {.indices = Ints{2, 0}}).epoch(0));
  ASSERT_EQ(batches.size(), 1u);
  EXPECT_EQ(batches[0].indices, (Ints{2, 0}));
  EXPECT_EQ(batches[0].labels, (Ints{3, 3}));
  EXPECT_EQ(batches[0].groups, (Ints{9, 7}));
}

TEST(Loader, RangeForGoesFromEpochToEpoch) {
  const InMemoryDataset data = small_dataset(20);
  Loader loader(data, augmented(1));
  for (int64_t epoch = 0; epoch < 3; epoch++) {
    std::vector<HostBatch> batches;
    for (Batch batch : loader) batches.push_back(on_host(batch));
    EXPECT_EQ(batches, collect(loader.epoch(epoch)));
  }
  for (Batch batch : loader) break;  // leaving one half-way starts the next
  Ints indices;
  for (Batch batch : loader)
    for (int64_t i : ints(batch.indices)) indices.push_back(i);
  EXPECT_EQ(indices, loader.order(4));
}

TEST(Loader, OrderIsAPermutationFromSeedAndEpochAlone) {
  const InMemoryDataset data = small_dataset(10);
  const Loader loader(data, {.shuffle = true, .seed = 3});
  // The same in Python with tests/golden/philox.py: Fisher-Yates from block (epoch << 32 | i), word
  // 0.
  EXPECT_EQ(loader.order(7), (Ints{9, 3, 6, 0, 4, 5, 1, 8, 7, 2}));
  EXPECT_EQ(loader.order(0), (Ints{2, 9, 0, 6, 1, 8, 7, 4, 3, 5}));
  EXPECT_EQ(loader.order(1), (Ints{7, 4, 6, 1, 5, 2, 8, 9, 3, 0}));
  EXPECT_NE(Loader(data, {.shuffle = true, .seed = 4}).order(0), loader.order(0));
  EXPECT_EQ(Loader(data, {.seed = 3}).order(5), all_indices(10));
}

TEST(Loader, EveryPermutationOfThreeIsAsLikely) {
  const Sampler sampler = shuffle_sampler({0, 1, 2}, 1);
  std::map<Ints, int> counts;
  for (int64_t epoch = 0; epoch < 6000; epoch++) counts[sampler.draw(epoch)]++;
  EXPECT_EQ(counts.size(), 6u);
  for (const auto& [order, count] : counts) EXPECT_NEAR(count, 1000, 150);  // five deviations
}

TEST(Loader, DoesNotDependOnTheNumberOfWorkers) {
  const InMemoryDataset data = small_dataset(100);
  const auto expected = collect(Loader(data, augmented(0)).epoch(2));
  EXPECT_EQ(expected.size(), 15u);
  for (int workers : {1, 2, 5, 40}) {
    LoaderOptions options = augmented(workers);
    EXPECT_EQ(collect(Loader(data, options).epoch(2)), expected) << workers << " workers";
    options.prefetch = 1;
    EXPECT_EQ(collect(Loader(data, options).epoch(2)), expected) << workers << " workers";
  }
}

TEST(Loader, ResumesInMidEpoch) {
  const InMemoryDataset data = small_dataset(100);
  const auto whole = collect(Loader(data, augmented(2)).epoch(3));
  const Loader other(data, augmented(1));
  for (int64_t first : {0, 1, 9, 14, 15})
    EXPECT_EQ(collect(other.epoch(3, first)), std::vector<HostBatch>(whole.begin() + first, whole.end()));
}

TEST(Loader, AugmentationChangesFromEpochToEpoch) {
  const InMemoryDataset data = small_dataset(50);
  LoaderOptions options = augmented(0);
  options.shuffle = false;
  const Loader loader(data, options);
  EXPECT_EQ(collect(loader.epoch(0)), collect(loader.epoch(0)));
  EXPECT_NE(collect(loader.epoch(0)), collect(loader.epoch(1)));
  options.augment.seed++;
  EXPECT_NE(collect(Loader(data, options).epoch(0)), collect(loader.epoch(0)));
  // Samples of a batch are augmented independently: equal images come out different.
  const InMemoryDataset same(full({64, 2, 3, 2}, 200, {.dtype = DType::kU8, .device = {}}), Ints(64, 0), {"a"});
  std::set<std::vector<double>> seen;
  for (const HostBatch& b : collect(Loader(same, options).epoch(0)))
    for (size_t i = 0; i < b.indices.size(); i++)
      seen.insert({b.images.begin() + static_cast<long>(12 * i), b.images.begin() + static_cast<long>(12 * i + 12)});
  EXPECT_GE(seen.size(), 6u);  // of nine crops, whose flips look alike in pairs
  // So do batches.
  const auto batches = collect(Loader(same, options).epoch(0));
  EXPECT_NE(batches[0].images, batches[1].images);
}

TEST(Loader, StreamingDataGivesTheSameBatches) {
  const InMemoryDataset data = small_dataset(100);
  const StreamingDataset streaming(data);
  const auto expected = collect(Loader(data, augmented(1)).epoch(1));
  for (int workers : {0, 1, 3}) EXPECT_EQ(collect(Loader(streaming, augmented(workers)).epoch(1)), expected);
}

TEST(Loader, PrefetchIsBounded) {
  const InMemoryDataset data = small_dataset(1000);
  const StreamingDataset streaming(data);
  const Loader loader(streaming, {.batch_size = 10, .workers = 2, .prefetch = 3});
  {
    BatchRange range = loader.epoch(0);
    auto it = range.begin();
    for (int i = 0; i < 3; i++) ++it;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    EXPECT_EQ(streaming.reads, 10 * (4 + 6));  // taken and ahead
  }                                            // joins in mid-epoch
  EXPECT_EQ(streaming.reads, 10 * (4 + 6));
}

TEST(Loader, FailuresSurfaceInOrder) {
  const InMemoryDataset data = small_dataset(100);
  StreamingDataset streaming(data);
  streaming.broken = 57;
  for (int workers : {0, 1, 4}) {
    const Loader loader(streaming, {.batch_size = 10, .workers = workers});
    int64_t seen = 0;
    expect_error(
        [&] {
          for (const Batch& batch : loader.epoch(0)) seen += batch.size;
        },
        {"[streaming] image 57 does not decode"});
    EXPECT_EQ(seen, 50) << workers << " workers";
  }
}

TEST(Loader, SteadyStateAsksTheSystemForNoMemory) {
  const InMemoryDataset data = small_dataset(100);
  const Loader loader(data, augmented(0));
  const auto run = [&] {
    for (const Batch& batch : loader.epoch(0)) EXPECT_GT(batch.size, 0);
  };
  run();
  const size_t before = memory_stats(Device("cpu")).system_requests;
  run();
  EXPECT_EQ(memory_stats(Device("cpu")).system_requests, before);
}

TEST(Loader, RangesOutliveTheirLoaderAndMove) {
  const InMemoryDataset data = small_dataset(100);
  const auto expected = collect(Loader(data, augmented(0)).epoch(0));
  BatchRange range = Loader(data, augmented(2)).epoch(0);
  BatchRange moved = std::move(range);
  EXPECT_EQ(collect(std::move(moved)), expected);
}

TEST(Loader, RefusesNonsense) {
  const InMemoryDataset data = small_dataset(10);
  const auto with = [&](LoaderOptions options) { return [&data, options] { Loader(data, options); }; };
  expect_error(with({.batch_size = 0}), {"[loader] expected a batch_size of at least 1, got 0"});
  expect_error(with({.indices = Ints{}}), {"expected at least one index, got none"});
  expect_error(with({.indices = Ints{3, 10}}), {"index 10 is outside [0, 10)"});
  expect_error(with({.indices = Ints{-1}}), {"index -1 is outside [0, 10)"});
  expect_error(with({.batch_size = 11, .drop_last = true}),
               {"drop_last leaves nothing of 10 samples in batches of 11"});
  expect_error(with({.augment = {.pad = -1}}), {"augment.pad of 0 or more, got -1"});
  expect_error(with({.mean = {0.5}}), {"expected means of 2 channels, got 1"});
  expect_error(with({.stddev = {1, 1, 1}}), {"expected stddevs of 2 channels, got 3"});
  expect_error(with({.stddev = {1, 0}}), {"a stddev above 0 for each channel, got 0"});
  expect_error(with({.mean = {0.5, 72.9}}),
               {"a mean in [0, 1] for each channel, got 72.9; statistics of pixels from 0 to 255 are to be divided"});
  expect_error(with({.stddev = {0.5, 60}}), {"a stddev of at most 1 for each channel, got 60; statistics of pixels"});
  EXPECT_NO_THROW(with({.mean = {0, 1 + 1e-12}, .stddev = {1, 1}})());
  expect_error(with({.augment = {.pad = 3}}), {"an augment.pad below the images' shorter side", "2x3", "got 3"});
  expect_error(with({.dtype = DType::kU8}), {"a floating dtype, got u8"});
  expect_error(with({.workers = -1}), {"0 to 1024 workers, got -1"});
  expect_error(with({.prefetch = 0}), {"a prefetch of 1 to 1024, got 0"});
  expect_error(with({.shuffle = true, .sampler = sequential_sampler({1})}),
               {"either a sampler or indices and shuffle, got both"});
  expect_error(with({.sampler = Sampler{}}), {"a sampler with a size and a draw"});
  const Loader loader(data, {.batch_size = 4});
  expect_error([&] { loader.epoch(0, 4); }, {"a first_batch in [0, 3], got 4"});
  expect_error([&] { loader.epoch(0, -1); }, {"a first_batch in [0, 3], got -1"});
  expect_error([&] { loader.epoch(-1); }, {"an epoch in [0, 2^31), got -1"});
}

TEST(Sampler, ClassBalancedDrawsClassesEvenly) {
  // Class 0 has 90 samples, class 2 has 9, class 3 one; class 1 none.
  Ints labels(90, 0);
  labels.insert(labels.end(), 9, 2);
  labels.push_back(3);
  const Sampler sampler = class_balanced_sampler(labels, all_indices(100), 1, 9000);
  const Ints order = sampler.draw(0);
  ASSERT_EQ(order.size(), 9000u);
  const Ints counts = class_counts(gather(labels, order), 4);
  EXPECT_EQ(counts[1], 0);
  for (size_t k : {0u, 2u, 3u}) EXPECT_NEAR(static_cast<double>(counts[k]), 3000, 225);  // 5 deviations
  EXPECT_EQ(std::set<int64_t>(order.begin(), order.end()).size(), 100u);
  EXPECT_EQ(sampler.draw(0), order);
  EXPECT_NE(sampler.draw(1), order);
  EXPECT_EQ(class_balanced_sampler(labels, Ints{1, 95}, 1).draw(0).size(), 2u);
}

TEST(Sampler, OwnSamplersPlugIn) {
  const InMemoryDataset data = small_dataset(10);
  Sampler own = {.size = 3, .draw = [](int64_t epoch) { return Ints{epoch, epoch, 9}; }};
  const auto batches = collect(Loader(data, {.batch_size = 2, .sampler = own}).epoch(4));
  ASSERT_EQ(batches.size(), 2u);
  EXPECT_EQ(batches[0].indices, (Ints{4, 4}));
  EXPECT_EQ(batches[1].indices, (Ints{9}));
  expect_error([&] { Loader(data, {.sampler = own}).epoch(10); }, {"index 10 is outside [0, 10)"});
  own.size = 4;
  expect_error([&] { Loader(data, {.sampler = own}).epoch(0); },
               {"the sampler drew 3 samples for epoch 0, expected its size, 4"});
}

TEST(Sampler, RefusesNonsense) {
  expect_error([] { shuffle_sampler({}, 1); }, {"[sampler] expected at least one sample"});
  expect_error([] { sequential_sampler({}); }, {"at least one sample"});
  expect_error([] { class_balanced_sampler(Ints{0}, Ints{}, 1); }, {"at least one sample"});
  expect_error([] { class_balanced_sampler(Ints{0}, Ints{1}, 1); }, {"index 1 is outside [0, 1)"});
  expect_error([] { class_balanced_sampler(Ints{0}, Ints{0}, 1, -1); }, {"0 or more, got -1"});
}

TEST(Prefetcher, WorkersRunKernelsOnOneThread) {
  Prefetcher<int> threads(0, 1, 1, 1, [](int64_t) { return omp_get_max_threads(); });
  EXPECT_EQ(threads.next(), 1);
}

TEST(Prefetcher, HasNothingAfterTheEndOrAFailure) {
  for (int workers : {0, 2}) {
    Prefetcher<int64_t> items(3, 6, workers, 2, [](int64_t k) {
      check(k != 5, "five");
      return k;
    });
    EXPECT_EQ(items.next(), 3);
    EXPECT_EQ(items.next(), 4);
    expect_error([&] { items.next(); }, {"five"});
    EXPECT_EQ(items.next(), std::nullopt);
    Prefetcher<int64_t> none(3, 3, workers, 2, [](int64_t k) { return k; });
    EXPECT_EQ(none.next(), std::nullopt);
  }
}

}  // namespace
}  // namespace fulcrum
