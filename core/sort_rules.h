// The order in which elements are sorted, shared by the CPU and CUDA kernels.
#pragma once

#include <cstdint>
#include <type_traits>

#include <fulcrum/core/types.h>

namespace fulcrum {

/// A total order, so that every sorting algorithm gives the same result: by value, with NaN as the largest, and equal
/// elements by position.
template <class T>
struct SortOrder {
  bool descending;

  /// Whether x, at position at_x, comes before y, at position at_y.
  FULCRUM_HD bool operator()(T x, int64_t at_x, T y, int64_t at_y) const {
    const bool less = is_less(x, y), more = is_less(y, x);
    if (less || more) return descending ? more : less;
    return at_x < at_y;
  }

 private:
  FULCRUM_HD static bool is_less(T x, T y) {
    if constexpr (std::is_integral_v<T>) {
      return x < y;
    } else {
      const auto a = Accumulate<T>(x), b = Accumulate<T>(y);
      return b != b ? a == a : a < b;
    }
  }
};

}  // namespace fulcrum
