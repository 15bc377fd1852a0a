// Checks that several operations share.
#pragma once

#include <initializer_list>

#include <fulcrum/core/tensor.h>

namespace fulcrum {

struct NamedTensorRef {
  const char* name;
  const Tensor& tensor;  // may be undefined
};

/// An Error unless all tensors are on the first one's device: "[conv2d] expected weight on cuda:0 like
/// x, got cpu".
inline void check_one_device(const char* op, std::initializer_list<NamedTensorRef> tensors) {
  const NamedTensorRef& first = *tensors.begin();
  for (const NamedTensorRef& t : tensors)
    check(!t.tensor || t.tensor.device() == first.tensor.device(), "[", op, "] expected ", t.name, " on ",
          first.tensor.device(), " like ", first.name, ", got ", t.tensor ? t.tensor.device() : Device());
}

}  // namespace fulcrum
