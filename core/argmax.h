// Which of two numbers argmax takes, on both back-ends: the larger one, and a NaN before any number, as PyTorch.
#pragma once

#include <fulcrum/core/types.h>

namespace fulcrum {

template <class A>
FULCRUM_HD bool wins(A a, A b) {
  return a > b || (a != a && b == b);
}

}  // namespace fulcrum
