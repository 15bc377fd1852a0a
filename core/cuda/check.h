// Checked calls of the CUDA runtime.
//
//   FULCRUM_CUDA_CHECK(cudaMemsetAsync(block, 0, bytes, stream));
#pragma once

#include <cuda_runtime_api.h>

#include <fulcrum/core/check.h>
#include <fulcrum/core/last_op.h>

namespace fulcrum::cuda {

[[noreturn]] inline void fail_with(cudaError_t status, const char* expression) {
  const bool no_code = status == cudaErrorNoKernelImageForDevice || status == cudaErrorUnsupportedPtxVersion;
  fail("[cuda] ", expression, ": ", cudaGetErrorName(status), ", ", cudaGetErrorString(status),
       no_code ? "; this build has no code for this GPU: configure with -DCMAKE_CUDA_ARCHITECTURES=native"
               : last_op_text());
}

}  // namespace fulcrum::cuda

#define FULCRUM_CUDA_CHECK(expression)                                                  \
  do {                                                                                  \
    if (const cudaError_t fulcrum_status = (expression); fulcrum_status != cudaSuccess) \
      ::fulcrum::cuda::fail_with(fulcrum_status, #expression);                          \
  } while (false)
