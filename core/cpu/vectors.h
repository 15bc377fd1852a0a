// Float vectors of the width that the code is compiled for (AVX-512, AVX2 or SSE2), by the compiler's
// vector types, for kernels whose vectors run along channels.
//
//   using namespace vectors;
//   Vec sum = {};
//   for (int i = 0; i < n; ++i) sum += load(x + i * kLanes) * scale;  // x: floats or bf16 bits
//   store(y, sum);                                                    // y: floats or bf16 bits
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace fulcrum::cpu::vectors {

using std::ptrdiff_t;

// A register tile of kTile x 2 accumulators, two vectors of the streamed operand and a broadcast must
// fit in the register file. They take 15 of 16 registers, or 27 of 32 with AVX-512.
#if defined(__AVX512F__)
inline constexpr int kVectorBytes = 64, kTile = 12;
#elif defined(__AVX2__)
inline constexpr int kVectorBytes = 32, kTile = 6;
#else
inline constexpr int kVectorBytes = 16, kTile = 6;
#endif
inline constexpr int kLanes = kVectorBytes / 4;
typedef float Vec __attribute__((vector_size(kVectorBytes)));
typedef std::uint32_t Bits __attribute__((vector_size(kVectorBytes)));
typedef std::uint16_t Half __attribute__((vector_size(kVectorBytes / 2)));

inline Vec load(const float* from) {
  Vec v;
  std::memcpy(&v, from, sizeof v);
  return v;
}

inline Vec load(const std::uint16_t* from) {
  Half half;
  std::memcpy(&half, from, sizeof half);
  const Bits bits = __builtin_convertvector(half, Bits) << 16;
  Vec v;
  std::memcpy(&v, &bits, sizeof v);
  return v;
}

// Loads the first `lanes` elements; the rest of the vector is zero and not read.
template <class T>
Vec load_lanes(const T* from, ptrdiff_t lanes) {
  if (lanes >= kLanes) return load(from);
  T all[kLanes] = {};
  std::copy_n(from, lanes, all);
  return load(all);
}

inline void store(float* to, Vec v) { std::memcpy(to, &v, sizeof v); }

// Rounds to nearest even; a NaN must not round up into an infinity or a zero.
inline void store(std::uint16_t* to, Vec v) {
  Bits bits;
  std::memcpy(&bits, &v, sizeof v);
  const Bits rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  const Bits quiet_nan = (bits >> 16) | 0x40;
  const Half half = __builtin_convertvector((bits & 0x7fffffff) > 0x7f800000 ? quiet_nan : rounded, Half);
  std::memcpy(to, &half, sizeof half);
}

template <class T>
void store_lanes(T* to, Vec v, ptrdiff_t lanes) {
  if (lanes >= kLanes) return store(to, v);
  T all[kLanes];
  store(all, v);
  std::copy_n(all, lanes, to);
}

inline ptrdiff_t round_up(ptrdiff_t value, int multiple) { return (value + multiple - 1) / multiple * multiple; }

// Rounds up to whole cache lines, so that each part of the scratch starts on a line of its own.
inline ptrdiff_t padded(ptrdiff_t floats) { return round_up(floats, 16); }

// Calls work(first channel, number of vectors) for each block of two vectors of channels, and for a
// last block of one if one is left. The number is a constant: std::integral_constant.
template <class Work>
void for_each_block(int channels, Work work) {
  for (int first = 0; first < channels; first += 2 * kLanes) {
    if (channels - first > kLanes) {
      work(first, std::integral_constant<int, 2>{});
    } else {
      work(first, std::integral_constant<int, 1>{});
    }
  }
}

}  // namespace fulcrum::cpu::vectors
