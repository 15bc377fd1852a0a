// A column of numbers as a tensor on the host, for files.
//
//   file.tensors["index"] = i64_tensor(indices);   // i64 [N]
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include <fulcrum/core/tensor.h>

namespace fulcrum::apps {

inline Tensor i64_tensor(std::span<const int64_t> values) {
  Tensor t = empty({std::ssize(values)}, {DType::kI64, {}});
  std::ranges::copy(values, t.data<int64_t>());
  return t;
}

}  // namespace fulcrum::apps
