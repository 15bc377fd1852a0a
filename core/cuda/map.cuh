// y[i] = f(x[i], …) over whole tensors: the form of most element-wise kernels. Loads and stores are up to 16 bytes wide
// where the alignment of every pointer allows it.
//
//   map(n, Scale{2}, y, x);   // struct Scale { float by; __device__ float operator()(float x) const; };
#pragma once

#include <fulcrum/core/cuda/device.cuh>

namespace fulcrum::cuda {

template <int N, class T>
__device__ Pack<T, N> load_pack(const T* x, int64_t i) {
  return reinterpret_cast<const Pack<T, N>*>(x)[i];
}

template <int N, class F, class Y, class... P>
__device__ void apply_packs(F f, Y* y, int64_t i, const P... x) {
  Pack<Y, N> out;
  for (int k = 0; k < N; k++) out.at[k] = f(x.at[k]...);
  reinterpret_cast<Pack<Y, N>*>(y)[i] = out;
}

template <int N, class F, class Y, class... X>
__global__ void map_kernel(F f, int64_t n, Y* y, const X*... x) {
  for (int64_t i = thread_index(); i < n / N; i += thread_count()) apply_packs<N>(f, y, i, load_pack<N>(x, i)...);
  for (int64_t i = n / N * N + thread_index(); i < n; i += thread_count()) y[i] = f(x[i]...);
}

/// Computes y[i] = f(x[i], …) for i < n. y may be one of the x.
template <class F, class Y, class... X>
void map(int64_t n, F f, Y* y, const X*... x) {
  constexpr int kWide = 16 / static_cast<int>(std::max({sizeof(Y), sizeof(X)...}));
  const auto fits = [](const auto* p) {
    return reinterpret_cast<uintptr_t>(p) % (sizeof(*p) * static_cast<size_t>(kWide)) == 0;
  };
  if (kWide > 1 && fits(y) && (fits(x) && ...)) {
    launch(map_kernel<kWide, F, Y, X...>, grid_for((n + kWide - 1) / kWide), f, n, y, x...);
  } else {
    launch(map_kernel<1, F, Y, X...>, grid_for(n), f, n, y, x...);
  }
}

}  // namespace fulcrum::cuda
