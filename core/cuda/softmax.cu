// Softmax over the last dimension: a warp for each row, a block where rows are long. A row is read
// from memory once, the passes after the first find it in the cache.
#include <cmath>

#include <fulcrum/core/kernels.h>
#include <fulcrum/core/cuda/device.cuh>

namespace fulcrum {

using namespace cuda;

namespace {

/// The threads that share a row, a warp or a block.
template <bool kBlock>
struct Team {
  unsigned size, me;
  int64_t first_row, step;  // of this team

  __device__ Team()
      : size(kBlock ? blockDim.x : kWarp),
        me(threadIdx.x % size),
        first_row(thread_index() / size),
        step(thread_count() / size) {}

  template <class Op, class A>
  __device__ A join(A value) const {
    if constexpr (kBlock) return block_reduce<Op>(value);
    else return warp_reduce<Op>(value);
  }
};

template <bool kBlock, class T>
__global__ void softmax_kernel(T* y, const T* x, int64_t rows, int64_t columns, bool log) {
  using A = Accumulate<T>;
  const Team<kBlock> team;
  for (int64_t row = team.first_row; row < rows; row += team.step) {
    const T* z = x + row * columns;
    T* out = y + row * columns;
    A top = MaxOf::start<A>(), total = 0;
    for (int64_t c = team.me; c < columns; c += team.size) top = MaxOf::join(top, A(z[c]));
    top = team.template join<MaxOf>(top);
    for (int64_t c = team.me; c < columns; c += team.size) total += std::exp(A(z[c]) - top);
    total = team.template join<SumOf>(total);
    const A log_total = std::log(total);
    for (int64_t c = team.me; c < columns; c += team.size) {
      const A shifted = A(z[c]) - top;
      out[c] = T(log ? shifted - log_total : std::exp(shifted) / total);
    }
  }
}

template <bool kBlock, class T>
__global__ void softmax_gradient_kernel(T* dx, const T* dy, const T* y, int64_t rows, int64_t columns, bool log) {
  using A = Accumulate<T>;
  const Team<kBlock> team;
  for (int64_t row = team.first_row; row < rows; row += team.step) {
    const int64_t begin = row * columns, end = begin + columns;
    A dot = 0;
    for (int64_t c = begin + team.me; c < end; c += team.size) dot += log ? A(dy[c]) : A(dy[c]) * A(y[c]);
    dot = team.template join<SumOf>(dot);
    for (int64_t c = begin + team.me; c < end; c += team.size)
      dx[c] = T(log ? A(dy[c]) - std::exp(A(y[c])) * dot : A(y[c]) * (A(dy[c]) - dot));
  }
}

bool long_rows(int64_t columns) { return columns > 1024; }

/// Threads for all rows, a warp or a block each.
Grid teams(int64_t rows, bool blocks) { return grid_for(rows * (blocks ? kThreads : kWarp)); }

}  // namespace

void Cuda::softmax(Tensor& y, const Tensor& x, bool log) {
  const int64_t columns = x.size(-1), rows = x.numel() / columns;
  const bool blocks = long_rows(columns);
  visit_floating(x.dtype(), "softmax", [&]<class T>() {
    launch(blocks ? softmax_kernel<true, T> : softmax_kernel<false, T>, teams(rows, blocks), y.data<T>(), x.data<T>(),
           rows, columns, log);
  });
}

void Cuda::softmax_gradient(Tensor& dx, const Tensor& dy, const Tensor& y, bool log) {
  const int64_t columns = y.size(-1), rows = y.numel() / columns;
  const bool blocks = long_rows(columns);
  visit_floating(y.dtype(), "softmax", [&]<class T>() {
    launch(blocks ? softmax_gradient_kernel<true, T> : softmax_gradient_kernel<false, T>, teams(rows, blocks),
           dx.data<T>(), dy.data<T>(), y.data<T>(), rows, columns, log);
  });
}

}  // namespace fulcrum
