// Checks that several operations share.
#pragma once

#include <initializer_list>

#include <fulcrum/core/autograd.h>
#include <fulcrum/core/tensor.h>

namespace fulcrum {

struct NamedTensorRef {
  const char* name;
  const Tensor& tensor;  // may be undefined
};

/// Throws Error unless all tensors are on the first one's device: "[conv2d] expected weight on cuda:0 like x, got cpu".
inline void check_one_device(const char* op, std::initializer_list<NamedTensorRef> tensors) {
  const NamedTensorRef& first = *tensors.begin();
  for (const NamedTensorRef& t : tensors)
    check(!t.tensor || t.tensor.device() == first.tensor.device(), "[", op, "] expected ", t.name, " on ",
          first.tensor.device(), " like ", first.name, ", got ", t.tensor ? t.tensor.device() : Device());
}

/// The dtype of the gradient of input x. For a twin, it is the dtype of its master.
inline DType gradient_dtype(const Tensor& x) { return x.node() ? x.node()->dtype : x.dtype(); }

/// Throws Error unless all indices (i64) are in [0, size). Skips indices on a GPU: reading them would wait for the GPU.
inline void check_indices(const char* op, const Tensor& indices, int64_t size) {
  if (!indices.device().is_cpu()) return;
  const int64_t* index = indices.data<int64_t>();
  for (int64_t i = 0; i < indices.numel(); i++)
    check(index[i] >= 0 && index[i] < size, "[", op, "] expected indices in [0, ", size, "), got ", index[i], " at ",
          i);
}

}  // namespace fulcrum
