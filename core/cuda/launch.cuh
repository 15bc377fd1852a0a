// Launches kernels on the compute stream. tests/simt has a header of this name that runs the same kernels on the CPU,
// so device code includes this header and none of the toolkit's.
//
//   template <class T>
//   __global__ void scale(T* y, int64_t n, float factor) {
//     for (int64_t i = thread_index(); i < n; i += thread_count()) y[i] = T(factor * float(y[i]));
//   }
//   launch(scale<float>, grid_for(n), y, n, 2.0f);
#pragma once

#include <cuda_runtime.h>

#include <fulcrum/core/cuda/check.h>
#include <fulcrum/core/cuda/runtime.h>

namespace fulcrum::cuda {

/// A one-dimensional grid: its blocks, and the threads per block.
struct Grid {
  unsigned blocks, threads;
};

/// Launches a kernel, with the arguments converted to its parameter types. Throws Error if the launch itself fails; an
/// error of the running kernel is thrown by the next synchronize().
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), Grid grid, Arguments... arguments) {
  kernel<<<grid.blocks, grid.threads, 0, compute_stream()>>>(static_cast<Parameters>(arguments)...);
  FULCRUM_CUDA_CHECK(cudaGetLastError());
}

}  // namespace fulcrum::cuda
