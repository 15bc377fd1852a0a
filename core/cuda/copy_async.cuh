// Asynchronous copies from global to shared memory. tests/simt has a header of this name for the CPU.
//
//   copy_async(shared.a + 8 * i, a + 8 * i, true);   // 16 bytes each
//   close_copies();                                   // makes a group of the copies since the last call
//   …
//   wait_for_copies<1>();                             // all of this thread's groups but the last have arrived
//   __syncthreads();                                  // and those of the other threads
//
// Requires compute capability 8.0.
#pragma once

#include <fulcrum/core/cuda/device.cuh>

namespace fulcrum::cuda {

/// Starts copying 16 bytes, or writing 16 bytes of zeros if `there` is false. Both addresses are on 16-byte boundaries.
template <class T>
__device__ inline void copy_async(T* shared, const T* global, bool there) {
#if __CUDA_ARCH__ >= 800
  asm volatile(
      "cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(static_cast<uint32_t>(__cvta_generic_to_shared(shared))),
      "l"(global), "r"(there ? 16 : 0)
      : "memory");
#else
  __trap();
#endif
}

__device__ inline void close_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

template <int kStillOpen>
__device__ inline void wait_for_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(kStillOpen) : "memory");
#endif
}

}  // namespace fulcrum::cuda
