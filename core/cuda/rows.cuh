// For kernels that work on rows: a warp per row, or a block where rows are long.
#pragma once

#include <fulcrum/core/argmax.h>
#include <fulcrum/core/cuda/device.cuh>

namespace fulcrum::cuda {

/// The threads that work on a row: a warp, or a block where rows are long. All of them must take the same branches.
struct WarpRow {
  __device__ static unsigned lane() { return threadIdx.x % kWarp; }
  __device__ static unsigned lanes() { return kWarp; }
  __device__ static int64_t first() { return thread_index() / kWarp; }
  __device__ static int64_t step() { return thread_count() / kWarp; }
  template <class Op, class A>
  __device__ static A reduce(A value) {
    return warp_reduce<Op>(value);
  }
};
struct BlockRow {
  __device__ static unsigned lane() { return threadIdx.x; }
  __device__ static unsigned lanes() { return blockDim.x; }
  __device__ static int64_t first() { return blockIdx.x; }
  __device__ static int64_t step() { return gridDim.x; }
  template <class Op, class A>
  __device__ static A reduce(A value) {
    return block_reduce<Op>(value);
  }
};

inline constexpr int64_t kLongestForWarp = 1024;
inline constexpr unsigned kRowThreads = 128;

/// Calls f.operator()<WarpRow or BlockRow>(grid).
template <class F>
void visit_rows(int64_t rows, int64_t columns, F&& f) {
  if (columns <= kLongestForWarp) return f.template operator()<WarpRow>(grid_for(rows * kWarp, kRowThreads));
  f.template operator()<BlockRow>(Grid{static_cast<unsigned>(std::min(rows, kMaxBlocks)), kThreads});
}

/// Returns the place of the first maximum of a row (argmax.h) to every lane of the warp. All lanes start from row[0].
template <class T>
__device__ int64_t warp_argmax(const T* row, int64_t columns) {
  using A = Accumulate<T>;
  A best = A(row[0]);
  int64_t at = 0;
  for (int64_t c = threadIdx.x % kWarp; c < columns; c += kWarp)
    if (wins(A(row[c]), best)) best = A(row[c]), at = c;
  for (int mask = kWarp / 2; mask > 0; mask /= 2) {
    const A other = __shfl_xor_sync(kAllLanes, best, mask);
    const int64_t other_at = __shfl_xor_sync(kAllLanes, at, mask);
    if (wins(other, best) || (!wins(best, other) && other_at < at)) best = other, at = other_at;
  }
  return at;
}

}  // namespace fulcrum::cuda
