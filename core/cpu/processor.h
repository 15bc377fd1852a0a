// Properties of the processor that decide between kernels.
//
//   if (bf16_pairs_pay()) { … kernel on pairs … } else { … widen and multiply floats … }
#pragma once

namespace fulcrum::cpu {

// Whether the code is compiled with instructions that multiply pairs of bf16 (vdpbf16ps).
#if defined(__AVX512BF16__)
inline constexpr bool kMultipliesBf16 = true;
#else
inline constexpr bool kMultipliesBf16 = false;
#endif

// Whether the processor has these instructions and they are faster than f32 arithmetic. AMD's processors do twice as
// many products as in f32; Intel's, designed to leave bf16 to AMX, do half as many (docs/performance.md), so there bf16
// is read and written as such but multiplied in f32. Decided by vendor, not by timing, so that the same processor
// always gives the same bits.
inline bool bf16_pairs_pay() {
  if constexpr (kMultipliesBf16) return __builtin_cpu_is("amd") && __builtin_cpu_supports("avx512bf16");
  return false;
}

}  // namespace fulcrum::cpu
