// The probe's own kernels, in bf16 over channels-last [rows, channels]; channels a multiple of 8, at
// most 2048.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

namespace probe {

struct NormBuffers {
  void *x, *y, *residual, *dy, *dx, *dresidual;  // residual and dresidual may be null
  float* sums;                                   // [2, channels]
};

void launch_nothing(cudaStream_t stream);
/// Random numbers of -1 to 1, whether they are read as bf16 or as f32.
void launch_random(void* to, size_t words, uint32_t seed, cudaStream_t stream);
void launch_copy(void* to, const void* from, size_t bytes, int multiprocessors, cudaStream_t stream);
/// One pass: sums and sums of squares.
void launch_statistics(const NormBuffers& b, int rows, int channels, int multiprocessors, cudaStream_t stream);
/// Two passes: statistics, then y = relu(normalised x (+ residual)).
void launch_norm(const NormBuffers& b, int rows, int channels, int multiprocessors, cudaStream_t stream);
/// Two passes: the two sums, then dx and the residual's gradient. Costs as much as the real gradient; the mean is 0 and
/// the scale 1.
void launch_norm_gradient(const NormBuffers& b, int rows, int channels, int multiprocessors, cudaStream_t stream);

}  // namespace probe
