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

/// All threads of `count` blocks must call it; true for those of the last block, which then see what
/// each of these blocks has written before. A kernel that uses it must not run twice at a time: there
/// is one compute stream.
__device__ inline bool last_of(unsigned* arrived, unsigned count) {
  __shared__ bool last;
  __syncthreads();
  if (count == 1) return true;
  if (threadIdx.x == 0) {
    // One thread's fences serve its block, as in cooperative groups: behind the barrier above all that the block wrote comes
    // before its arrival, and before the barrier below nothing that follows is read from an older cache line.
    __threadfence();
    last = atomicAdd(arrived, 1u) == count - 1;
    if (last) *arrived = 0;  // for the next launch, or the next replay of this one
    __threadfence();
  }
  __syncthreads();
  return last;
}

/// The last of the whole grid.
__device__ inline bool last_block(unsigned* arrived) { return last_of(arrived, gridDim.x); }

}  // namespace fulcrum::cuda
