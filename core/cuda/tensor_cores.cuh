// Products of small matrices of bf16 by a warp, summed in f32. tests/simt has a header of this name for the CPU.
//
//   uint32_t a[4], b[4];                                  // a: 16×16; b: two of 16×8
//   load_matrices<false>(a, rows + (lane % 16) * stride + lane / 16 * 8);
//   load_matrices<false>(b, columns + (lane / 16 * 8 + lane % 8) * stride + lane / 8 % 2 * 8);
//   multiply_add(sum[0], a, b[0], b[1]);
//   multiply_add(sum[1], a, b[2], b[3]);
//
// All lanes of a warp call them together. Element (row, column) of a sum of 16×8 is sum[row / 8 * 2 + column % 2] of
// lane row % 8 * 4 + column / 2. Requires compute capability 8.0.
#pragma once

#include <fulcrum/core/cuda/device.cuh>

#define FULCRUM_UNROLL _Pragma("unroll")

namespace fulcrum::cuda {

/// Loads four matrices of 8×8 from shared memory. Lane l passes the address of row l % 8 of matrix l / 8, on a 16-byte
/// boundary. Of each matrix it gets two neighbours of row l / 4, from column l % 4 * 2; with kTransposed, two
/// neighbours of column l / 4, from row l % 4 * 2.
template <bool kTransposed>
__device__ inline void load_matrices(uint32_t (&out)[4], const bf16* row) {
#if __CUDA_ARCH__ >= 800
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  if constexpr (kTransposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(address)
                 : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(address)
                 : "memory");
#else
  __trap();
#endif
}

/// sum [16, 8] += a [16, 16] · b [16, 8]. The columns of b are the rows that load_matrices reads.
__device__ inline void multiply_add(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
#if __CUDA_ARCH__ >= 800
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
  __trap();
#endif
}

}  // namespace fulcrum::cuda
