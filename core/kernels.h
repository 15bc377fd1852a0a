// The back-ends, struct Cpu and struct Cuda, and dispatch(), the one place that chooses between them.
// Both implement every kernel of kernels.inc.
//
//   dispatch(x, [&]<class K>() { K::softmax(y, x, /*log=*/true); });
#pragma once

#include <source_location>
#include <utility>
#include <vector>

#include <fulcrum/core/cuda/runtime.h>
#include <fulcrum/core/kernel_types.h>
#include <fulcrum/core/last_op.h>
#include <fulcrum/core/random.h>
#include <fulcrum/core/tensor.h>

namespace fulcrum {

struct Cpu {
#include <fulcrum/core/kernels.inc>
};

struct Cuda {
#include <fulcrum/core/kernels.inc>
};

/// Calls f.operator()<Cpu>() or f.operator()<Cuda>(), depending on the device of `operand`; makes a GPU the current
/// device first.
template <class F>
decltype(auto) dispatch(const Tensor& operand, F&& f, std::source_location op = std::source_location::current()) {
  const Device device = operand.device();
  if (device.is_cpu()) return f.template operator()<Cpu>();
  if constexpr (cuda::kBuilt) {
    cuda::use_device(device.index);
    note_op(operand.shape(), operand.dtype(), op);
    return f.template operator()<Cuda>();
  }
  fail("[dispatch] this build has no back-end for device ", device);
}

}  // namespace fulcrum
