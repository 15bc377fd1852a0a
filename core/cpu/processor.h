// What the processor is good at, where that decides between kernels.
//
//   if (bf16_pairs_pay()) { … kernel on pairs … } else { … widen and multiply floats … }
#pragma once

namespace fulcrum::cpu {

// Whether the code is compiled for multiplying pairs of bf16 (vdpbf16ps).
#if defined(__AVX512BF16__)
inline constexpr bool kMultipliesBf16 = true;
#else
inline constexpr bool kMultipliesBf16 = false;
#endif

// Whether the processor does so, and faster than floats. AMD's do twice the products of f32; Intel's, made to leave
// bf16 to AMX, do half of them (docs/performance.md), so there bf16 is read and written as such and
// multiplied in f32. Asked of the maker, not timed: the same processor must give the same bits.
inline bool bf16_pairs_pay() {
  if constexpr (kMultipliesBf16) return __builtin_cpu_is("amd") && __builtin_cpu_supports("avx512bf16");
  return false;
}

}  // namespace fulcrum::cpu
