// parallel_for: runs independent pieces of work of uneven length (e.g. decoding files) on its own threads.
//
//   parallel_for(paths.size(), /*threads=*/0, [&](int64_t i) { sizes[i] = image_size(paths[i]); });
//
// Not for kernels, which use OpenMP (core/cpu). If several calls throw, rethrows the exception of the
// smallest index, so that the error does not depend on timing; work after that index may not have been done.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace fulcrum {

/// Replaces 0 threads by the number of cores.
inline int resolve_threads(int threads) {
  return threads > 0 ? threads : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

/// Calls work(i) once for each i in [0, n). The calls start in order of index.
template <class Work>
void parallel_for(int64_t n, int threads, const Work& work) {
  std::atomic<int64_t> next = 0;
  std::mutex mutex;
  int64_t failed_at = n;
  std::exception_ptr error;
  const auto run = [&] {
    for (int64_t i = next++; i < n; i = next++) {
      try {
        work(i);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (i < failed_at) {
          failed_at = i;
          error = std::current_exception();
        }
        next = n;  // smaller indices have all been started
      }
    }
  };
  {
    std::vector<std::jthread> others;
    for (int64_t t = 1; t < std::min<int64_t>(resolve_threads(threads), n); t++) others.emplace_back(run);
    run();
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace fulcrum
