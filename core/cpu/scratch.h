// Computing in another dtype: converted inputs and outputs in tensors from the pool.
#pragma once

#include <fulcrum/core/kernels.h>

namespace fulcrum::cpu {

/// The tensor itself, undefined or not, or a copy in `dtype`.
inline Tensor converted(const Tensor& x, DType dtype) {
  if (!x || x.dtype() == dtype) return x;
  Tensor y = empty(x.shape(), {dtype, x.device()});
  Cpu::cast(y, x);
  return y;
}

/// Calls compute(out) with y, or with a tensor in `dtype` that is then converted into y.
template <class Compute>
void compute_in(DType dtype, Tensor& y, Compute compute) {
  Tensor out = y.dtype() == dtype ? y : empty(y.shape(), {dtype, y.device()});
  compute(out);
  if (y.dtype() != dtype) Cpu::cast(y, out);
}

}  // namespace fulcrum::cpu
