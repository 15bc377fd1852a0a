#include <fulcrum/data/sampler.h>

#include <algorithm>
#include <map>
#include <utility>

#include <fulcrum/core/check.h>
#include <fulcrum/core/random.h>

namespace fulcrum {

namespace {

/// The random words of draw i of an epoch; an epoch has fewer than 2^32 draws.
Words4 epoch_words(const Philox& philox, int64_t epoch, size_t i) {
  return philox.block(static_cast<uint64_t>(epoch) << 32 | i);
}

int64_t checked_size(size_t size) {
  check(size > 0, "[sampler] expected at least one sample, got none");
  check(size < (size_t{1} << 32), "[sampler] expected fewer than 2^32 samples an epoch, got ", size);
  return static_cast<int64_t>(size);
}

}  // namespace

Sampler sequential_sampler(std::vector<int64_t> indices) {
  const int64_t size = checked_size(indices.size());
  return {size, [indices = std::move(indices)](int64_t) { return indices; }};
}

Sampler shuffle_sampler(std::vector<int64_t> indices, uint64_t seed) {
  const int64_t size = checked_size(indices.size());
  return {size, [indices = std::move(indices), seed](int64_t epoch) {
            const Philox philox(seed, streams::kShuffle);
            std::vector<int64_t> order = indices;
            for (size_t i = 0; i + 1 < order.size(); i++) {
              const auto left = static_cast<uint32_t>(order.size() - i);
              const size_t j = i + Philox::scale(epoch_words(philox, epoch, i).w[0], left);
              std::swap(order[i], order[j]);
            }
            return order;
          }};
}

Sampler class_balanced_sampler(std::span<const int64_t> labels, std::span<const int64_t> indices, uint64_t seed,
                               int64_t size) {
  check(size >= 0, "[sampler] expected a size of 0 or more, got ", size);
  checked_size(indices.size());
  const int64_t draws = checked_size(size > 0 ? static_cast<size_t>(size) : indices.size());
  std::map<int64_t, std::vector<int64_t>> by_class;
  for (const int64_t i : indices) {
    check(i >= 0 && i < std::ssize(labels), "[sampler] index ", i, " is outside [0, ", labels.size(), ")");
    by_class[labels[static_cast<size_t>(i)]].push_back(i);
  }
  std::vector<std::vector<int64_t>> members;
  for (auto& [label, samples] : by_class) members.push_back(std::move(samples));
  return {draws, [members = std::move(members), seed, draws](int64_t epoch) {
            const Philox philox(seed, streams::kShuffle);
            std::vector<int64_t> order(static_cast<size_t>(draws));
            for (size_t i = 0; i < order.size(); i++) {
              const Words4 words = epoch_words(philox, epoch, i);
              const auto& samples = members[Philox::scale(words.w[0], static_cast<uint32_t>(members.size()))];
              order[i] = samples[Philox::scale(words.w[1], static_cast<uint32_t>(samples.size()))];
            }
            return order;
          }};
}

}  // namespace fulcrum
