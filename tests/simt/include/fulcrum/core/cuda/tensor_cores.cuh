// Stands in for core/cuda/tensor_cores.cuh where device code is compiled for the CPU.
#pragma once

#include <fulcrum/core/cuda/device.cuh>

#define FULCRUM_UNROLL

namespace fulcrum::cuda {

template <bool kTransposed>
inline void load_matrices(uint32_t (&out)[4], const bf16* row) {
  if (reinterpret_cast<uintptr_t>(row) % 16 != 0) simt::broken("load_matrices: a row off a 16-byte boundary");
  struct Part {
    uint32_t* out;
    const bf16* row;
  };
  Part mine{out, row};
  simt::together(mine, [](Part* const(&lanes)[32]) {
    for (unsigned lane = 0; lane < 32; lane++)
      for (unsigned m = 0; m < 4; m++) {
        const unsigned across = lane / 4, along = lane % 4 * 2;
        const bf16* const first = lanes[8 * m + (kTransposed ? along : across)]->row;
        const bf16* const second = lanes[8 * m + (kTransposed ? along + 1 : across)]->row;
        lanes[lane]->out[m] = kTransposed ? first[across].bits | uint32_t{second[across].bits} << 16
                                          : first[along].bits | uint32_t{second[along + 1].bits} << 16;
      }
  });
}

inline void multiply_add(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  simt::Product mine{sum, {a[0], a[1], a[2], a[3]}, {b0, b1}};
  simt::together(mine, [](simt::Product* const(&lanes)[32]) { simt::multiply(lanes); });
}

}  // namespace fulcrum::cuda
