// Checked calls of the CUDA runtime.
//
//   FULCRUM_CUDA_CHECK(cudaMemsetAsync(block, 0, bytes, stream));
#pragma once

#include <cuda_runtime_api.h>

#include <fulcrum/core/check.h>
#include <fulcrum/core/cuda/runtime.h>
#include <fulcrum/core/last_op.h>

namespace fulcrum::cuda {

/// Throws OutOfMemory for a call that found no memory on the current device, with what is left there.
template <class... Parts>
[[noreturn]] void fail_without_memory(const Parts&... call) {
  throw OutOfMemory(concat_text(call..., memory_report()));
}

[[noreturn]] inline void fail_with(cudaError_t status, const char* expression) {
  const std::string call =
      concat_text("[cuda] ", expression, ": ", cudaGetErrorName(status), ", ", cudaGetErrorString(status));
  switch (status) {
    case cudaErrorMemoryAllocation:
      cudaGetLastError();  // else the next launch would report it again
      fail_without_memory(call, last_op_text());
    case cudaErrorNoKernelImageForDevice:
      fail(call, "; this build has no code for this GPU: configure with -DCMAKE_CUDA_ARCHITECTURES=native");
    case cudaErrorUnsupportedPtxVersion:
      fail(call,
           "; the driver is too old for this build's code: update it, or configure with "
           "-DCMAKE_CUDA_ARCHITECTURES=native");
    default: fail(call, last_op_text());
  }
}

}  // namespace fulcrum::cuda

#define FULCRUM_CUDA_CHECK(expression)                                                  \
  do {                                                                                  \
    if (const cudaError_t fulcrum_status = (expression); fulcrum_status != cudaSuccess) \
      ::fulcrum::cuda::fail_with(fulcrum_status, #expression);                          \
  } while (false)
