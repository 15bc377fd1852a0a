// Loop nests of kernels over shapes, computed once on the host.
// Adjacent dimensions that a kernel treats alike are merged into one. The structs hold plain numbers, so that CUDA
// kernels can take them as arguments.
#pragma once

#include <fulcrum/core/types.h>

namespace fulcrum {

struct Division {
  int64_t quotient, remainder;
};
/// Divides non-negative numbers, in 32 bits where both fit: on a GPU, a 64-bit division takes hundreds of instructions.
FULCRUM_HD inline Division divide(int64_t a, int64_t b) {
  if (((a | b) >> 32) != 0) return {a / b, a % b};
  const auto low = static_cast<uint32_t>(a), by = static_cast<uint32_t>(b);
  return {low / by, low % by};
}

// The loop nest of a broadcast, innermost first: sizes, and strides of a and b. Dimensions are merged if both allow it.
struct BroadcastLoop {
  int rank = 0;
  int64_t size[Shape::kMaxDims] = {}, a[Shape::kMaxDims] = {}, b[Shape::kMaxDims] = {};

  BroadcastLoop(const Shape& y, const Shape& sa, const Shape& sb) {
    int64_t stride_a = 1, stride_b = 1;
    // From the innermost dimension outwards; one that can be merged is folded into the last entry.
    for (int i = 1; i <= y.dim(); i++) {
      const int64_t na = i <= sa.dim() ? sa[-i] : 1, nb = i <= sb.dim() ? sb[-i] : 1;
      const int64_t step_a = na == 1 ? 0 : stride_a, step_b = nb == 1 ? 0 : stride_b;
      stride_a *= na;
      stride_b *= nb;
      if (y[-i] == 1) continue;
      const int last = rank - 1;
      if (rank && step_a == a[last] * size[last] && step_b == b[last] * size[last]) {
        size[last] *= y[-i];
      } else {
        size[rank] = y[-i], a[rank] = step_a, b[rank] = step_b;
        rank++;
      }
    }
    if (rank == 0) size[rank++] = 1;
  }
};

// The loop nest of a reduction, outermost first; adjacent dimensions that are all reduced, or all kept, are merged.
struct ReductionLoop {
  int rank = 0;
  int64_t size[Shape::kMaxDims] = {};
  bool reduced[Shape::kMaxDims] = {};

  ReductionLoop(const Shape& x, const Shape& y) {
    for (int i = 0; i < x.dim(); i++) {
      if (x[i] == 1) continue;
      const bool r = y[i] == 1;
      if (rank && reduced[rank - 1] == r) {
        size[rank - 1] *= x[i];
      } else {
        size[rank] = x[i], reduced[rank] = r;
        rank++;
      }
    }
  }
};

}  // namespace fulcrum
