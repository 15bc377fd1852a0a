// The CUDA back-end against the CPU's: the same kernel on the same numbers, on both devices.
//
//   TEST(CudaNorm, …) {
//     FULCRUM_NEEDS_CUDA();
//     const Tensor x = random_tensor(shape, 1);
//     expect_same_on_both({1e-5}, [&]<class K>(Device device) {
//       Tensor y = empty(x.shape(), {x.dtype(), device});
//       K::softmax(y, x.to(device), false);
//       return Tensors{y};
//     });
//   }
//
// Runs on a GPU where there is one, and on the emulator of tests/simt everywhere.
#pragma once

#include <cstdlib>
#include <optional>

#include "testing.h"

#include <fulcrum/core/cuda/runtime.h>
#include <fulcrum/core/kernels.h>

/// Skips a test, saying why, where there is no CUDA device; fails it where FULCRUM_GPU_REQUIRED is set.
#define FULCRUM_NEEDS_CUDA()                                                                   \
  if (::fulcrum::cuda::device_count() == 0) {                                                  \
    if (std::getenv("FULCRUM_GPU_REQUIRED")) GTEST_FAIL() << ::fulcrum::cuda::why_no_device(); \
    GTEST_SKIP() << ::fulcrum::cuda::why_no_device();                                          \
  }

namespace fulcrum::testing {

/// Whether the device is the emulator, on which every thread of a kernel takes its turn: tests are smaller there.
inline bool emulated() { return cuda::describe_device(0) == "SIMT emulator"; }

/// Calls f.operator()<Cpu>(cpu) and f.operator()<Cuda>(cuda), which return tensors, and compares those.
template <class F>
void expect_same_on_both(Tolerance tolerance, F&& f) {
  const Device gpu("cuda");
  const Tensors expected = f.template operator()<Cpu>(Device());
  cuda::use_device(gpu.index);
  const Tensors got = f.template operator()<Cuda>(gpu);
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); i++) {
    SCOPED_TRACE(concat_text("result ", i));
    EXPECT_EQ(got[i].device(), gpu);
    EXPECT_EQ(got[i].dtype(), expected[i].dtype());
    EXPECT_TRUE(all_close(got[i], expected[i], tolerance));
  }
}

/// before(i) and then a step, `times` times: on a device the first step runs eagerly and all others are
/// replays of one captured graph, so that a step which took a number from the host repeats it.
template <class K, class Before, class Step>
void run_steps(int times, Before before, Step step) {
  std::optional<cuda::Graph> graph;
  for (int i = 0; i < times; i++) {
    before(i);
    if constexpr (std::is_same_v<K, Cuda>) {
      if (i == 1) graph.emplace(step);
      graph ? graph->replay() : step();
    } else {
      step();
    }
  }
}

}  // namespace fulcrum::testing
