// Prepares the arguments of library calls, which require one dtype and memory on 16-byte boundaries: a slice of a
// tensor may start anywhere.
#pragma once

#include <cstdint>

#include <fulcrum/core/kernels.h>

namespace fulcrum::cuda {

inline bool is_aligned(const Tensor& t) { return reinterpret_cast<uintptr_t>(t.raw()) % 16 == 0; }

/// Returns x itself if it is undefined or fits as it is, else an aligned copy in `dtype`.
inline Tensor prepared(const Tensor& x, DType dtype) {
  if (!x || (x.dtype() == dtype && is_aligned(x))) return x;
  Tensor y = empty(x.shape(), {dtype, x.device()});
  Cuda::cast(y, x);
  return y;
}

/// Calls compute(out) with y itself if it fits as it is, else with an aligned tensor in `dtype`, then cast into y.
template <class Compute>
void compute_into(Tensor& y, DType dtype, Compute compute) {
  if (y.dtype() == dtype && is_aligned(y)) return compute(y);
  Tensor out = empty(y.shape(), {dtype, y.device()});
  compute(out);
  Cuda::cast(y, out);
}

}  // namespace fulcrum::cuda
