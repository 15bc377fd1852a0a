// Writing an element in a vector loop.
#pragma once

#include <type_traits>

#include <fulcrum/core/types.h>

namespace fulcrum::cpu {

/// to = T(value), rounded. GCC gives up vectorising a `#pragma omp simd` loop that assigns a bf16 as
/// a struct (10 times slower); as its bits it is fine.
template <class T, class A>
inline void store(T& to, A value) {
  if constexpr (std::is_same_v<T, bf16>) {
    to.bits = bf16(static_cast<float>(value)).bits;
  } else {
    to = static_cast<T>(value);
  }
}

}  // namespace fulcrum::cpu
