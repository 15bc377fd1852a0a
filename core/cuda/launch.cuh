// Starting a kernel on the compute stream. tests/simt has a header of this name that runs the same
// kernels on the CPU, so device code includes this one and no header of the toolkit.
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

/// Blocks and threads a block, one-dimensional.
struct Grid {
  unsigned blocks, threads;
};

/// Arguments are converted to the kernel's parameter types. An error of the launch itself is thrown
/// here, one of the running kernel at the next synchronize().
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), Grid grid, Arguments... arguments) {
  kernel<<<grid.blocks, grid.threads, 0, compute_stream()>>>(static_cast<Parameters>(arguments)...);
  FULCRUM_CUDA_CHECK(cudaGetLastError());
}

}  // namespace fulcrum::cuda
