// Loads and stores neighbouring elements in words of up to 16 bytes.
//
//   visit_width<T>(channels, [&]<int P>() { launch(kernel<T, P>, …); }, y, x);
//   const Pack<T, P> in = pack_at<P>(x, at);  // x[at], …, x[at + P − 1]
//   put_pack(y, at, out);
#pragma once

#include <cstring>
#include <type_traits>

#include <fulcrum/core/cuda/device.cuh>

namespace fulcrum::cuda {

/// Loads a pack. `at` must be a multiple of N, and x aligned for packs of N (fit_packs).
template <int N, class T>
__device__ Pack<T, N> pack_at(const T* x, int64_t at) {
  return *reinterpret_cast<const Pack<T, N>*>(x + at);
}

/// Stores a pack, by __stwb: in the workers of tiles.cuh nvcc splits a plain store of 8 or 16 bytes into its elements.
template <int N, class T>
__device__ void put_pack(T* y, int64_t at, const Pack<T, N>& pack) {
#ifdef __CUDACC__
  if constexpr (sizeof(pack) % sizeof(uint2) == 0) {
    using Word = std::conditional_t<sizeof(pack) % sizeof(uint4) == 0, uint4, uint2>;
    Word words[sizeof(pack) / sizeof(Word)];
    std::memcpy(words, &pack, sizeof(pack));
    for (size_t i = 0; i < sizeof(pack) / sizeof(Word); i++) __stwb(reinterpret_cast<Word*>(y + at) + i, words[i]);
    return;
  }
#endif
  *reinterpret_cast<Pack<T, N>*>(y + at) = pack;
}

/// Whether all of these pointers are aligned for packs of N.
template <int N, class... T>
bool fit_packs(const T*... pointers) {
  return ((reinterpret_cast<uintptr_t>(pointers) % (sizeof(T) * N) == 0) && ...);
}

/// Calls f.operator()<P>() with P = kPack<T> if rows of `channels` elements can be accessed as packs through all of
/// these pointers (which may be null), else with P = 1.
template <class T, class F, class... Pointers>
void visit_width(int64_t channels, F&& f, const Pointers*... pointers) {
  if (channels % kPack<T> == 0 && fit_packs<kPack<T>>(pointers...)) {
    f.template operator()<kPack<T>>();
  } else {
    f.template operator()<1>();
  }
}

}  // namespace fulcrum::cuda
