// Prefetches memory that will be needed soon, a bit at a time between stretches of arithmetic. The hardware
// prefetcher does not help here, because the memory is accessed in short bursts.
//
//   Prefetcher<float> next(x + end, count, /*steps=*/36);  // the next part of x
//   for (int i = 0; i < 36; ++i) { next.step(); ... }
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace fulcrum::cpu {

enum class PrefetchFor : bool { kRead, kWrite };

template <class T, PrefetchFor kFor = PrefetchFor::kRead>
class Prefetcher {
 public:
  // Prefetches [at, at + count) in `steps` steps. The range may extend past the tensor.
  Prefetcher(const T* at, std::ptrdiff_t count, std::ptrdiff_t steps)
      : at_(reinterpret_cast<std::uintptr_t>(at)),
        end_(at_ + static_cast<std::uintptr_t>(count) * sizeof(T)),
        per_step_((end_ - at_) / static_cast<std::uintptr_t>(steps) + 1) {}

  void step() {
    const std::uintptr_t stop = std::min(end_, at_ + per_step_);
    for (; at_ < stop; at_ += 64) __builtin_prefetch(reinterpret_cast<const void*>(at_), kFor == PrefetchFor::kWrite);
  }

 private:
  std::uintptr_t at_, end_, per_step_;  // not pointers, as they may lie past the tensor
};

}  // namespace fulcrum::cpu
