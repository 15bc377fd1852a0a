// One kernel instead of two: the block that finishes last combines the results of all blocks, in an order that does not
// depend on which block is the last.
//
//   __device__ unsigned arrived;            // one for each kernel, 0 between its launches
//
//   if (threadIdx.x == 0) partial[blockIdx.x] = sum;
//   if (!last_block(&arrived)) return;
//   … partial[0 … gridDim.x) …
#pragma once

#include <fulcrum/core/cuda/device.cuh>

namespace fulcrum::cuda {

/// All threads of `count` blocks must call it. Returns true in the last block, whose threads then see what all of them
/// wrote before. A kernel that uses it must not run twice at a time: there is one compute stream.
__device__ inline bool last_of(unsigned* arrived, unsigned count) {
  __shared__ bool last;
  __syncthreads();
  if (count == 1) return true;
  if (threadIdx.x == 0) {
    // The fences of one thread serve its block, as in cooperative groups. The barrier above and the first fence order
    // all writes of the block before its arrival; the second fence and the barrier below order its later reads after.
    __threadfence();
    last = atomicAdd(arrived, 1u) == count - 1;
    if (last) *arrived = 0;  // for the next launch, or the next replay of this one
    __threadfence();
  }
  __syncthreads();
  return last;
}

/// The same for all blocks of the grid.
__device__ inline bool last_block(unsigned* arrived) { return last_of(arrived, gridDim.x); }

}  // namespace fulcrum::cuda
