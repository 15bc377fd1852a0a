// The comparison behind argmax, shared by the CPU and CUDA kernels.
// The larger value wins, and NaN wins over any number, as in PyTorch.
#pragma once

#include <fulcrum/core/types.h>

namespace fulcrum {

/// Whether a replaces the best value so far, b. Equal values do not: the first one wins.
template <class A>
FULCRUM_HD bool wins(A a, A b) {
  return a > b || (a != a && b == b);
}

}  // namespace fulcrum
