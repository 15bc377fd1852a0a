// Computing in another dtype: converts inputs and outputs, in tensors from the pool.
#pragma once

#include <fulcrum/core/kernels.h>

namespace fulcrum::cpu {

/// Returns x itself if it is undefined or has that dtype already, else a converted copy.
inline Tensor converted(const Tensor& x, DType dtype) {
  if (!x || x.dtype() == dtype) return x;
  Tensor y = empty(x.shape(), {dtype, x.device()});
  Cpu::cast(y, x);
  return y;
}

/// Calls compute(out) with y if it has that dtype, else with a temporary in `dtype`, which is then converted into y.
template <class Compute>
void compute_in(DType dtype, Tensor& y, Compute compute) {
  Tensor out = y.dtype() == dtype ? y : empty(y.shape(), {dtype, y.device()});
  compute(out);
  if (y.dtype() != dtype) Cpu::cast(y, out);
}

}  // namespace fulcrum::cpu
