// Parallel loops over contiguous ranges, which depend only on the number of threads, so that whatever
// depends on the split (partial sums) is the same in every run.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>

namespace fulcrum::cpu {

/// The number of elements below which another thread costs more than it saves.
inline constexpr int64_t kGrain = 16384;

struct Range {
  int64_t begin, end;
};

/// Returns range number `part` of `parts` that [0, n) is split into.
inline Range share(int64_t n, int part, int parts) {
  const int64_t size = (n + parts - 1) / parts;
  const int64_t begin = std::min(n, size * part);
  return {begin, std::min(n, begin + size)};
}

/// Calls f(begin, end) on disjoint ranges that cover [0, n), with about `grain` elements or more per thread.
template <class F>
void parallel_for(int64_t n, int64_t grain, F&& f) {
  const int threads = static_cast<int>(std::clamp<int64_t>(n / std::max<int64_t>(grain, 1), 1, omp_get_max_threads()));
  if (threads == 1) return f(int64_t{0}, n);
#pragma omp parallel num_threads(threads)
  {
    const Range r = share(n, omp_get_thread_num(), omp_get_num_threads());
    if (r.begin < r.end) f(r.begin, r.end);
  }
}

}  // namespace fulcrum::cpu
