// Shared by the risk kernels. Each is a single block: the losses of a batch are few, and a second launch would cost
// more than the work on them.
//
//   if (!all_finite(losses, batch)) return write_constant(p, batch, 0);     // and no state changes
//   write_weights(p, batch, statistics, log_mean, [&](int64_t i) { return …; });
//
// All threads of the block must call these.
#pragma once

#include <cmath>

#include <fulcrum/core/risk_rules.h>
#include <fulcrum/core/cuda/device.cuh>

namespace fulcrum::cuda {

inline constexpr unsigned kRiskThreads = 1024;

/// A grid of one block, of enough whole warps for n items, up to kRiskThreads threads.
inline Grid one_block(int64_t n) {
  const int64_t warps = (n + kWarp - 1) / kWarp;
  return {1, static_cast<unsigned>(std::clamp<int64_t>(warps * kWarp, kWarp, kRiskThreads))};
}

/// Joins f(i) for i in [0, n) over the block.
template <class Op, class F>
__device__ auto block_join(int64_t n, F f) {
  using A = decltype(f(int64_t{0}));
  A value = Op::template start<A>();
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) value = Op::join(value, f(i));
  return block_reduce<Op>(value);
}

template <class T>
__device__ bool all_finite(const T* losses, int64_t n) {
  return block_join<SumOf>(n, [&](int64_t i) { return std::isfinite(losses[i]) ? 0 : 1; }) == 0;
}

template <class T>
__device__ void write_constant(T* p, int64_t n, double value) {
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) p[i] = static_cast<T>(value);
}

/// Writes p_i = weight(i), rounded to the type of p, and adds to the statistics.
template <class T, class F>
__device__ void write_weights(T* p, int64_t n, double* statistics, double log_mean, F weight) {
  double sum = 0, squares = 0;
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) {
    const double w = weight(i);
    p[i] = static_cast<T>(w);
    sum += w;
    squares += w * w;
  }
  sum = block_reduce<SumOf>(sum);
  squares = block_reduce<SumOf>(squares);
  if (threadIdx.x == 0) add_statistics(statistics, log_mean, sum, squares, n);
}

}  // namespace fulcrum::cuda
