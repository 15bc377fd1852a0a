// One kernel instead of two: the block that comes last combines what all of them have found, in an
// order that does not depend on which one that is.
//
//   __device__ unsigned arrived;            // one for each kernel, 0 between its launches
//
//   if (threadIdx.x == 0) partial[blockIdx.x] = sum;
//   if (!last_block(&arrived)) return;
//   … partial[0 … gridDim.x) …
#pragma once

#include <fulcrum/core/cuda/device.cuh>

namespace fulcrum::cuda {

/// All threads must call it; true for those of the last block, which then see what every block has
/// written before. A kernel that uses it must not run twice at a time: there is one compute stream.
__device__ inline bool last_block(unsigned* arrived) {
  __shared__ bool last;
  __syncthreads();  // the whole block has written
  if (threadIdx.x == 0) {
    __threadfence();  // … before it arrives
    last = atomicAdd(arrived, 1u) == gridDim.x - 1;
    if (last) *arrived = 0;  // for the next launch, or the next replay of this one
    __threadfence();  // and nothing is read before the last one has arrived
  }
  __syncthreads();
  return last;
}

}  // namespace fulcrum::cuda
