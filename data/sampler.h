// Sampler: which samples an epoch visits, and in which order.
//
//   Loader loader(train, {.sampler = class_balanced_sampler(train.labels(), indices, /*seed=*/1)});
//
// The order is a pure function of the sampler and the epoch: a run that resumes in the middle of an epoch gets
// the same order, whatever was drawn before. Write your own as
// {.size = samples per epoch, .draw = [](int64_t epoch) { return std::vector<int64_t>{…}; }}.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace fulcrum {

struct Sampler {
  int64_t size = 0;                                         // samples per epoch, the same in every epoch
  std::function<std::vector<int64_t>(int64_t epoch)> draw;  // [size] indices into the data set
};

/// The indices in the given order, in every epoch.
Sampler sequential_sampler(std::vector<int64_t> indices);
/// A new permutation in each epoch: Fisher-Yates, drawn by Philox from (seed, epoch). The bias of a
/// draw is below (number of indices) / 2^32.
Sampler shuffle_sampler(std::vector<int64_t> indices, uint64_t seed);
/// `size` draws with replacement (0: as many as there are indices). Each draws one of the classes that occur, all with
/// the same probability, then one of its samples. `labels` are those of the whole data set.
Sampler class_balanced_sampler(std::span<const int64_t> labels, std::span<const int64_t> indices, uint64_t seed,
                               int64_t size = 0);

}  // namespace fulcrum
