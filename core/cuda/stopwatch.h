// Times what is launched on the compute stream, by the device's own clock, and without the host's part: a launch of a
// small kernel through a library takes longer than the kernel, and a recorded step does not pay for it.
//
//   Stopwatch watch;
//   const float milliseconds = watch.shortest([&] { plan.run(pointers); });
#pragma once

#include <algorithm>
#include <limits>

#include <fulcrum/core/cuda/check.h>
#include <fulcrum/core/cuda/runtime.h>

namespace fulcrum::cuda {

/// Milliseconds a launch, of the fastest of a few replays of several.
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

  template <class Launch>
  float shortest(Launch launch) {
    constexpr int kRounds = 5, kLaunches = 20;
    float best = std::numeric_limits<float>::infinity();
    launch();  // what is loaded or compiled at the first one
    Graph launches([&] {
      for (int i = 0; i < kLaunches; i++) launch();
    });
    launches.replay();
    for (int round = 0; round < kRounds; round++) {
      FULCRUM_CUDA_CHECK(cudaEventRecord(start_, compute_stream()));
      launches.replay();
      FULCRUM_CUDA_CHECK(cudaEventRecord(stop_, compute_stream()));
      FULCRUM_CUDA_CHECK(cudaEventSynchronize(stop_));
      float elapsed = 0;
      FULCRUM_CUDA_CHECK(cudaEventElapsedTime(&elapsed, start_, stop_));
      best = std::min(best, elapsed / kLaunches);
    }
    return best;
  }

 private:
  cudaEvent_t start_{}, stop_{};
};

}  // namespace fulcrum::cuda
