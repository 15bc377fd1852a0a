// Reading and writing elements in vector loops, such that bf16 is as fast as its size permits.
//
//   template <class W> … W::template get<k>(x, j) … W::put(y, j, [&]<int k>() { return … });
//
// A word is one f32 or f64, or two bf16. The halves of a 32-bit word become floats by a shift or a mask,
// whereas single bf16 need shuffles between lanes (measured: pairs halve the time of a whole pass).
// k selects the element of word j: element 2j + k of a bf16 array.
#pragma once

#include <bit>
#include <cstring>
#include <type_traits>

#include <fulcrum/core/types.h>

namespace fulcrum::cpu {

/// to = T(value), rounded. Assigns the bits of a bf16: GCC does not vectorise a `#pragma omp simd` loop that
/// assigns a bf16 as a struct (10 times slower).
template <class T, class A>
inline void store(T& to, A value) {
  if constexpr (std::is_same_v<T, bf16>) {
    to.bits = bf16(static_cast<float>(value)).bits;
  } else {
    to = static_cast<T>(value);
  }
}

/// Words of one element each.
template <class T>
struct Singles {
  static constexpr int kPerWord = 1;

  template <int k>
  static Accumulate<T> get(const T* x, int64_t j) {
    return x[j];
  }
  template <class F>
  static void put(T* y, int64_t j, F value) {
    store(y[j], value.template operator()<0>());
  }
  /// The value after rounding to T, as get() would return it after put().
  static Accumulate<T> kept(Accumulate<T> value) {
    if constexpr (std::is_same_v<T, bf16>) return std::bit_cast<float>(uint32_t{bf16(value).bits} << 16);
    else return value;
  }
};

struct Pairs {
  static constexpr int kPerWord = 2;

  template <int k>
  static float get(const bf16* x, int64_t j) {
    uint32_t word;
    std::memcpy(&word, x + 2 * j, sizeof word);
    return std::bit_cast<float>(k == 0 ? word << 16 : word & kUpper);
  }
  template <class F>
  static void put(bf16* y, int64_t j, F value) {
    const uint32_t word =
        rounded(value.template operator()<0>()) >> 16 | (rounded(value.template operator()<1>()) & kUpper);
    std::memcpy(y + 2 * j, &word, sizeof word);
  }
  static float kept(float value) { return std::bit_cast<float>(rounded(value) & kUpper); }

 private:
  static_assert(std::endian::native == std::endian::little);
  static constexpr uint32_t kUpper = 0xffff0000u;
  // Rounds to nearest even, with the result in the upper half. For a NaN, all bits are ones, which is a NaN as well.
  static uint32_t rounded(float value) {
    const auto u = std::bit_cast<uint32_t>(value);
    return (u + 0x7fffu + ((u >> 16) & 1u)) | (0u - uint32_t{value != value});
  }
};

template <class T>
using Words = std::conditional_t<std::is_same_v<T, bf16>, Pairs, Singles<T>>;

/// Covers elements [begin, begin + n) with words: calls f.operator()<W>(base, first, last), where
/// word j of [first, last) lies at W::get(x + base, j).
template <class T, class F>
inline void for_words(int64_t begin, int64_t n, F f) {
  using W = Words<T>;
  f.template operator()<W>(begin, int64_t{0}, n / W::kPerWord);
  if constexpr (W::kPerWord == 2) {
    if (n % 2) f.template operator()<Singles<T>>(begin + n - 1 - n / 2, n / 2, n / 2 + 1);
  }
}

}  // namespace fulcrum::cpu
