// Softmax over the last dimension. A row is read from memory once; the passes after the first find it in the cache.
#include <cmath>

#include <fulcrum/core/kernels.h>
#include <fulcrum/core/cuda/rows.cuh>

namespace fulcrum {

using namespace cuda;

namespace {

template <class W, class T>
__global__ void softmax_kernel(T* y, const T* x, int64_t rows, int64_t columns, bool log) {
  using A = Accumulate<T>;
  for (int64_t row = W::first(); row < rows; row += W::step()) {
    const T* z = x + row * columns;
    T* out = y + row * columns;
    A top = MaxOf::start<A>(), total = 0;
    for (int64_t c = W::lane(); c < columns; c += W::lanes()) top = MaxOf::join(top, A(z[c]));
    top = W::template reduce<MaxOf>(top);
    for (int64_t c = W::lane(); c < columns; c += W::lanes()) total += std::exp(A(z[c]) - top);
    total = W::template reduce<SumOf>(total);
    const A log_total = std::log(total);
    for (int64_t c = W::lane(); c < columns; c += W::lanes()) {
      const A shifted = A(z[c]) - top;
      out[c] = T(log ? shifted - log_total : std::exp(shifted) / total);
    }
  }
}

template <class W, class T>
__global__ void softmax_gradient_kernel(T* dx, const T* dy, const T* y, int64_t rows, int64_t columns, bool log) {
  using A = Accumulate<T>;
  for (int64_t row = W::first(); row < rows; row += W::step()) {
    const int64_t begin = row * columns, end = begin + columns;
    A dot = 0;
    for (int64_t c = begin + W::lane(); c < end; c += W::lanes()) dot += log ? A(dy[c]) : A(dy[c]) * A(y[c]);
    dot = W::template reduce<SumOf>(dot);
    for (int64_t c = begin + W::lane(); c < end; c += W::lanes())
      dx[c] = T(log ? A(dy[c]) - std::exp(A(y[c])) * dot : A(y[c]) * (A(dy[c]) - dot));
  }
}

}  // namespace

void Cuda::softmax(Tensor& y, const Tensor& x, bool log) {
  const int64_t columns = x.size(-1), rows = x.numel() / columns;
  visit_floating(x.dtype(), "softmax", [&]<class T>() {
    visit_rows(rows, columns, [&]<class W>(Grid grid) {
      launch(softmax_kernel<W, T>, grid, y.data<T>(), x.data<T>(), rows, columns, log);
    });
  });
}

void Cuda::softmax_gradient(Tensor& dx, const Tensor& dy, const Tensor& y, bool log) {
  const int64_t columns = y.size(-1), rows = y.numel() / columns;
  visit_floating(y.dtype(), "softmax", [&]<class T>() {
    visit_rows(rows, columns, [&]<class W>(Grid grid) {
      launch(softmax_gradient_kernel<W, T>, grid, dx.data<T>(), dy.data<T>(), y.data<T>(), rows, columns, log);
    });
  });
}

}  // namespace fulcrum
