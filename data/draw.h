// Random draws that depend only on (seed, stream, index of the sample).
//
//   Philox philox(seed, streams::kSubset);
//   auto members = shuffled_members(labels, indices, classes, philox);   // [class][i]
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include <fulcrum/core/check.h>
#include <fulcrum/core/random.h>

namespace fulcrum {

/// A random sort key: the first two words of block `index`.
inline uint64_t draw_key(const Philox& philox, int64_t index) {
  const Words4 words = philox.block(static_cast<uint64_t>(index));
  return uint64_t{words.w[0]} << 32 | words.w[1];
}

/// For each class, the members of `indices` with its label, in random order. Labels must be in [0, classes).
/// Throws Error if an index is outside the labels.
inline std::vector<std::vector<int64_t>> shuffled_members(std::span<const int64_t> labels,
                                                          std::span<const int64_t> indices, int64_t classes,
                                                          const Philox& philox) {
  std::vector<std::vector<std::pair<uint64_t, int64_t>>> keyed(static_cast<size_t>(classes));
  for (const int64_t i : indices) {
    check(i >= 0 && i < std::ssize(labels), "[draw] index ", i, " is outside [0, ", labels.size(), ")");
    const auto label = static_cast<size_t>(labels[static_cast<size_t>(i)]);
    keyed[label].emplace_back(draw_key(philox, i), i);
  }
  std::vector<std::vector<int64_t>> members(keyed.size());
  for (size_t k = 0; k < keyed.size(); k++) {
    std::ranges::sort(keyed[k]);
    for (const auto& [key, index] : keyed[k]) members[k].push_back(index);
  }
  return members;
}

}  // namespace fulcrum
