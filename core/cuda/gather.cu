// Gather, scatter and scatter_add: reads and writes at given indices.
#include <type_traits>

#include <fulcrum/core/kernels.h>
#include <fulcrum/core/cuda/device.cuh>

namespace fulcrum {

using namespace cuda;

namespace {

template <class T>
__device__ T out_of_range() {
  if constexpr (std::is_integral_v<T>) return static_cast<T>(-1);
  else return T(NAN);
}

template <class T>
__global__ void gather_kernel(T* y, const T* x, const int64_t* index, IndexLoop loop, int64_t n) {
  for (int64_t at = thread_index(); at < n; at += thread_count()) {
    const auto [row, i] = divide(at, loop.inner);
    const auto [o, k] = divide(row, loop.count);
    const int64_t from = index[loop.index_at(o, k, i)];
    const bool inside = from >= 0 && from < loop.size;
    y[at] = inside ? x[(o * loop.size + from) * loop.inner + i] : out_of_range<T>();
  }
}

/// One thread per column [o, ·, i] goes through k in order: the same bits in every run, without atomics.
template <bool kAdd, class T>
__global__ void scatter_kernel(T* x, const T* y, const int64_t* index, IndexLoop loop) {
  for (int64_t column = thread_index(); column < loop.outer * loop.inner; column += thread_count()) {
    const auto [o, i] = divide(column, loop.inner);
    for (int64_t k = 0; k < loop.count; k++) {
      const int64_t to = index[loop.index_at(o, k, i)];
      if (to < 0 || to >= loop.size) continue;
      T& sum = x[(o * loop.size + to) * loop.inner + i];
      const T value = y[(o * loop.count + k) * loop.inner + i];
      if constexpr (kAdd) sum = T(Accumulate<T>(sum) + Accumulate<T>(value));
      else sum = value;
    }
  }
}

}  // namespace

void Cuda::gather(Tensor& y, const Tensor& x, const Tensor& index, const IndexLoop& loop) {
  const int64_t n = y.numel();
  visit_any(y.dtype(), [&]<class T>() {
    launch(gather_kernel<T>, grid_for(n), y.data<T>(), x.data<T>(), index.data<int64_t>(), loop, n);
  });
}

void Cuda::scatter(Tensor& x, const Tensor& y, const Tensor& index, const IndexLoop& loop) {
  visit_any(x.dtype(), [&]<class T>() {
    launch(scatter_kernel<false, T>, grid_for(loop.outer * loop.inner), x.data<T>(), y.data<T>(), index.data<int64_t>(),
           loop);
  });
}

void Cuda::scatter_add(Tensor& x, const Tensor& y, const Tensor& index, const IndexLoop& loop) {
  visit_floating(x.dtype(), "scatter_add", [&]<class T>() {
    launch(scatter_kernel<true, T>, grid_for(loop.outer * loop.inner), x.data<T>(), y.data<T>(), index.data<int64_t>(),
           loop);
  });
}

}  // namespace fulcrum
