// Shared by device code: thread indices, vector loads, reductions over a warp and a block.
//
// Reductions have a fixed order: for the same sizes, the result has the same bits in every run.
#pragma once

#include <algorithm>
#include <cstdint>

#include <fulcrum/core/loops.h>
#include <fulcrum/core/cuda/launch.cuh>

namespace fulcrum::cuda {

inline constexpr unsigned kThreads = 256, kWarp = 32, kAllLanes = 0xffffffffu;
/// Enough blocks of 256 threads to fill the largest device; kernels stride over the rest.
inline constexpr int64_t kMaxBlocks = 2048;

/// A grid with a thread for each of n items, of at most kMaxBlocks blocks.
inline Grid grid_for(int64_t n, unsigned threads = kThreads) {
  const int64_t blocks = std::clamp<int64_t>((n + threads - 1) / threads, 1, kMaxBlocks);
  return {static_cast<unsigned>(blocks), threads};
}

__device__ inline int64_t thread_index() { return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; }
__device__ inline int64_t thread_count() { return static_cast<int64_t>(gridDim.x) * blockDim.x; }

/// N neighbouring elements, loaded and stored as one word.
template <class T, int N>
struct alignas(sizeof(T) * N) Pack {
  T at[N];
};
/// The number of elements of T in 16 bytes.
template <class T>
inline constexpr int kPack = 16 / static_cast<int>(sizeof(T));

/// Whether all of these pointers lie on 16-byte boundaries.
template <class... Pointers>
bool aligned(const Pointers*... pointers) {
  return ((reinterpret_cast<uintptr_t>(pointers) % 16 == 0) && ...);
}

struct SumOf {
  template <class A>
  __device__ static A start() {
    return A(0);
  }
  template <class A>
  __device__ static A join(A a, A b) {
    return a + b;
  }
};
struct MaxOf {
  template <class A>
  __device__ static A start() {
    return static_cast<A>(-INFINITY);
  }
  /// NaN propagates.
  template <class A>
  __device__ static A join(A a, A b) {
    return a > b || a != a ? a : b;
  }
};

/// Joins the values of a full warp; every lane gets the result.
template <class Op, class A>
__device__ A warp_reduce(A value) {
  for (int mask = 16; mask > 0; mask /= 2) value = Op::join(value, __shfl_xor_sync(kAllLanes, value, mask));
  return value;
}

/// Joins the values of a block of whole warps, at most 1024 threads. All threads must call it, and all get the result.
template <class Op, class A>
__device__ A block_reduce(A value) {
  __shared__ A partial[kWarp];
  const unsigned lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  value = warp_reduce<Op>(value);
  if (lane == 0) partial[warp] = value;
  __syncthreads();
  value = lane < blockDim.x / kWarp ? partial[lane] : Op::template start<A>();
  value = warp_reduce<Op>(value);
  __syncthreads();  // partial is free for the next call
  return value;
}

}  // namespace fulcrum::cuda
