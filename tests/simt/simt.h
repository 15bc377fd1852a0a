// Runs device code on the CPU: each thread of a block is a fiber, barriers and shuffles switch between fibers, and
// blocks run one after another. Kernels of core/cuda compile as plain C++ against this header
// (tests/simt/include/fulcrum/core/cuda/launch.cuh). They run under ASan, each warp as far as it gets before the next
// one, in both orders of threads, so that a missing barrier shows.
//
// An access through a pointer costs what it costs on the CPU. Not modelled: caches, memory order between blocks, and
// warps that diverge without a shuffle or barrier.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>

namespace simt {

struct Dim3 {
  unsigned x = 1, y = 1, z = 1;
};
extern Dim3 grid, block, block_index;
unsigned thread_number();

/// Runs a kernel, or records it while a graph is being captured.
void launch(unsigned blocks, unsigned threads, std::function<void()> body);

void wait_block();
/// Waits until all lanes of the warp that `mask` names have arrived. Aborts if this lane is not among them, or if one
/// of them has left the kernel.
void wait_warp(unsigned mask);
/// 8 bytes for each thread of the block, in which it passes a value to its warp.
unsigned long long& exchange(unsigned thread);

template <class T>
T shuffle(unsigned mask, T value, unsigned from_lane) {
  static_assert(sizeof(T) <= 8);
  const unsigned me = thread_number();
  std::memcpy(&exchange(me), &value, sizeof value);
  wait_warp(mask);
  T result;
  std::memcpy(&result, &exchange((me & ~31u) + from_lane % 32), sizeof result);
  wait_warp(mask);
  return result;
}

/// How many lanes of this thread's warp have arrived at an operation of the full warp.
unsigned& arrived();

/// Runs an operation of a full warp: once all lanes have arrived, one of them calls f with the `mine` of each.
template <class T, class F>
void together(T& mine, F f) {
  const unsigned me = thread_number();
  T* const pointer = &mine;
  std::memcpy(&exchange(me), &pointer, sizeof pointer);
  arrived()++;
  wait_warp(0xffffffffu);
  if (arrived() < 32) return;  // another lane has called f, and some may be at the next operation
  arrived() = 0;
  T* all[32];
  for (unsigned lane = 0; lane < 32; lane++) std::memcpy(&all[lane], &exchange((me & ~31u) + lane), sizeof pointer);
  f(all);
}

/// A lane's part of a product of bf16 matrices, 16×16 · 16×8, in the order of mma.sync.m16n8k16.
struct Product {
  float* sum;
  uint32_t a[4], b[2];
};
void multiply(Product* const (&lanes)[32]);

/// Asynchronous copies: the 16 bytes (zeros, if `global` is null) reach shared memory when their group is waited for.
/// wait_for_copies waits for all of this thread's groups but the last `open`.
void begin_copy(void* shared, const void* global);
void close_copies();
void wait_for_copies(size_t open);

/// Aborts the test: device code has done what a device does not allow.
[[noreturn]] void broken(const char* what);

}  // namespace simt

#define __global__
#define __device__
#define __host__
#define __shared__ static  // one block at a time: its fibers share a static
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
#define __restrict__ __restrict

#define threadIdx (simt::Dim3{simt::thread_number(), 0, 0})
#define blockIdx (simt::block_index)
#define blockDim (simt::block)
#define gridDim (simt::grid)

inline void __syncthreads() { simt::wait_block(); }
inline void __syncwarp(unsigned mask = 0xffffffffu) { simt::wait_warp(mask); }
inline void __threadfence() {}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes) {
  return simt::shuffle(mask, value, (simt::thread_number() % 32) ^ static_cast<unsigned>(lanes));
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta) {
  const unsigned lane = simt::thread_number() % 32;
  return simt::shuffle(mask, value, lane + delta < 32 ? lane + delta : lane);
}
template <class T>
T __shfl_sync(unsigned mask, T value, int lane) {
  return simt::shuffle(mask, value, static_cast<unsigned>(lane));
}
template <class T, class U>
T atomicAdd(T* address, U value) {
  const T before = *address;
  *address = static_cast<T>(before + static_cast<T>(value));
  return before;
}
