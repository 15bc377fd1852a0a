// Times work on the compute stream by the device's own clock, without the host's part: launching a small kernel through
// a library takes longer than the kernel, and a recorded step does not pay for that.
//
//   Stopwatch watch;
//   const float milliseconds = watch.shortest([&] { plan.run(pointers); });
#pragma once

#include <algorithm>
#include <limits>

#include <fulcrum/core/cuda/check.h>
#include <fulcrum/core/cuda/runtime.h>

namespace fulcrum::cuda {

/// Measures milliseconds per launch: several launches are recorded, and the fastest of a few replays counts.
class Stopwatch {
 public:
  Stopwatch() {
    FULCRUM_CUDA_CHECK(cudaEventCreate(&start_));
    FULCRUM_CUDA_CHECK(cudaEventCreate(&stop_));
  }
  ~Stopwatch() {
    cudaEventDestroy(start_);
    cudaEventDestroy(stop_);
  }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

  /// Returns milliseconds per launch. If a single launch takes more than twice `record`, returns its time, without
  /// any replays.
  template <class Launch>
  float shortest(Launch launch, float record = std::numeric_limits<float>::infinity()) {
    constexpr int kRounds = 5, kMostLaunches = 20;
    constexpr float kEnough = 0.5f, kOverhead = 0.1f;  // milliseconds: a round; what the host may add to a launch
    launch();                                          // loads or compiles what is missing
    const float once = time(launch);
    if (once > 2 * record + kOverhead) return once;
    const int count = std::clamp(static_cast<int>(kEnough / std::max(once, 1e-3f)), 1, kMostLaunches);
    Graph launches([&] {
      for (int i = 0; i < count; i++) launch();
    });
    launches.replay();
    float best = std::numeric_limits<float>::infinity();
    for (int round = 0; round < kRounds; round++)
      best = std::min(best, time([&] { launches.replay(); }) / static_cast<float>(count));
    return best;
  }

 private:
  template <class Work>
  float time(Work work) {
    FULCRUM_CUDA_CHECK(cudaEventRecord(start_, compute_stream()));
    work();
    FULCRUM_CUDA_CHECK(cudaEventRecord(stop_, compute_stream()));
    FULCRUM_CUDA_CHECK(cudaEventSynchronize(stop_));
    float elapsed = 0;
    FULCRUM_CUDA_CHECK(cudaEventElapsedTime(&elapsed, start_, stop_));
    return elapsed;
  }

  cudaEvent_t start_{}, stop_{};
};

}  // namespace fulcrum::cuda
