// exp, log(1 + x), tanh and erfc of floats without calls or branches, so that compilers vectorise loops over them:
// several times as fast as calling the library's functions element by element. On a GPU, and for doubles, the library's
// functions are used.
//
//   for (int64_t i = 0; i < n; i++) y[i] = math::exp(x[i]);
//
// Relative errors are below 3e-7 (erfc: 7e-7, and 1e-5 in its tail, where the result is below 0.005). NaN and
// infinities are handled as in the library. Loops vectorise only with -fno-trapping-math: core/CMakeLists.txt.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include <fulcrum/core/types.h>

namespace fulcrum::math {

namespace detail {

inline float two_to(uint32_t exponent) { return std::bit_cast<float>((exponent + 127u) << 23); }

/// e^x = 2^k e^r, with the polynomial of Cephes' expf (Moshier) for e^r.
inline float exp(float x) {
  constexpr float kShift = 12582912.0F;  // 1.5·2²³: adding it rounds to an integer, held in the lowest bits
  const float c = x < -104.0F ? -104.0F : x > 89.0F ? 89.0F : x;
  const float shifted = c * 1.44269504F + kShift, k = shifted - kShift;
  const float r = (c - k * 0.693359375F) + k * 2.12194440e-4F;  // ln 2 in two parts
  float p = 1.9875691500e-4F;
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * (r * r) + r + 1.0F;
  // Multiply by 2^k in two steps: 2^k may overflow or underflow a float where e^x does not.
  const auto power = static_cast<int32_t>(std::bit_cast<uint32_t>(shifted) - std::bit_cast<uint32_t>(kShift));
  const int32_t half = power >> 1;
  return p * two_to(static_cast<uint32_t>(half)) * two_to(static_cast<uint32_t>(power - half));
}

/// log(1 + x) for x in [0, 1] by the series of 2 artanh(x/(2 + x)).
inline float log1p_of_unit(float x) {
  const float s = x / (2.0F + x), q = s * s;
  float p = 2.0F / 13;
  p = p * q + 2.0F / 11;
  p = p * q + 2.0F / 9;
  p = p * q + 2.0F / 7;
  p = p * q + 2.0F / 5;
  p = p * q + 2.0F / 3;
  return s * (p * q + 2.0F);
}

/// ±(1 − e^−2|x|)/(1 + e^−2|x|). Near 0, where this loses digits, the Taylor series.
inline float tanh(float x) {
  const float a = x < 0 ? -x : x, e = exp(-2.0F * a), far = (1.0F - e) / (1.0F + e), q = x * x;
  float p = 62.0F / 2835;
  p = p * q - 17.0F / 315;
  p = p * q + 2.0F / 15;
  p = p * q - 1.0F / 3;
  const float near = x * (1.0F + q * p);
  return a < 0.25F ? near : x < 0 ? -far : far;
}

/// Chebyshev fit of Press et al., Numerical Recipes, erfcc.
inline float erfc(float x) {
  const float a = x < 0 ? -x : x, t = 1.0F / (1.0F + 0.5F * a);
  float p = 0.17087277F;
  p = p * t - 0.82215223F;
  p = p * t + 1.48851587F;
  p = p * t - 1.13520398F;
  p = p * t + 0.27886807F;
  p = p * t - 0.18628806F;
  p = p * t + 0.09678418F;
  p = p * t + 0.37409196F;
  p = p * t + 1.00002368F;
  p = p * t - 1.26551223F;
  const float tail = t * exp(p - a * a);
  return x < 0 ? 2.0F - tail : tail;
}

}  // namespace detail

template <class A>
FULCRUM_HD A exp(A x) {
#ifndef __CUDA_ARCH__
  if constexpr (std::is_same_v<A, float>) return detail::exp(x);
#endif
  return std::exp(x);
}
/// For x in [0, 1].
template <class A>
FULCRUM_HD A log1p_of_unit(A x) {
#ifndef __CUDA_ARCH__
  if constexpr (std::is_same_v<A, float>) return detail::log1p_of_unit(x);
#endif
  return std::log1p(x);
}
template <class A>
FULCRUM_HD A tanh(A x) {
#ifndef __CUDA_ARCH__
  if constexpr (std::is_same_v<A, float>) return detail::tanh(x);
#endif
  return std::tanh(x);
}
template <class A>
FULCRUM_HD A erfc(A x) {
#ifndef __CUDA_ARCH__
  if constexpr (std::is_same_v<A, float>) return detail::erfc(x);
#endif
  return std::erfc(x);
}

}  // namespace fulcrum::math
