// Copies from global to shared memory that go on while the threads compute. tests/simt has a header of this name for the CPU.
//
//   copy_async(shared.a + 8 * i, a + 8 * i, true);   // 16 bytes each
//   close_copies();                                   // a group of what was begun since the last one
//   …
//   wait_for_copies<1>();                             // of this thread's groups all but the last have arrived
//   __syncthreads();                                  // and everybody's
//
// From compute capability 8.0 on.
#pragma once

#include <fulcrum/core/cuda/device.cuh>

namespace fulcrum::cuda {

/// Begins to copy 16 bytes, both on 16-byte boundaries; zeros in their place where `there` is false.
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
