// Element-wise kernels, casts, strided copies, dropout.
#include <tuple>

#include <fulcrum/core/functors.h>
#include <fulcrum/core/kernels.h>
#include <fulcrum/core/loops.h>
#include <fulcrum/core/cuda/map.cuh>

namespace fulcrum {

using namespace cuda;

namespace {

template <class T>
struct Constant {
  T value;
  __device__ T operator()() const { return value; }
};

template <class To>
struct Convert {
  template <class From>
  __device__ To operator()(From x) const {
    return convert_to<To>(x);
  }
};

template <class F>
struct Forward {
  template <class... T>
  __device__ auto operator()(T... x) const {
    using First = std::tuple_element_t<0, std::tuple<T...>>;
    return First(F::forward(Accumulate<First>(x)...));
  }
};

template <class F>
struct Gradient {
  template <class T>
  __device__ T operator()(T dy, T saved) const {
    return T(F::gradient(Accumulate<T>(dy), Accumulate<T>(saved)));
  }
};

template <class T>
struct KeepScaled {
  Accumulate<T> scale;
  __device__ T operator()(T x, uint8_t keep) const { return T(keep ? Accumulate<T>(x) * scale : Accumulate<T>(0)); }
};

}  // namespace

void Cuda::fill(Tensor& y, double value) {
  if (value == 0 && !std::signbit(value)) return set_bytes(y.raw(), 0, y.bytes());
  visit_any(y.dtype(), [&]<class T>() { map(y.numel(), Constant<T>{convert_to<T>(value)}, y.data<T>()); });
}

void Cuda::cast(Tensor& y, const Tensor& x) {
  visit_any(y.dtype(), [&]<class To>() {
    visit_any(x.dtype(), [&]<class From>() { map(y.numel(), Convert<To>{}, y.data<To>(), x.data<From>()); });
  });
}

void Cuda::add_into(Tensor& y, const Tensor& x) {
  visit_floating(y.dtype(), "add_into", [&]<class To>() {
    visit_floating(x.dtype(), "add_into", [&]<class From>() {
      To* sum = y.data<To>();
      map(y.numel(), AddTo<To>{}, sum, static_cast<const To*>(sum), x.data<From>());
    });
  });
}

namespace {

/// Extents and strides of a StridedCopy as a kernel argument. Kernels take it as __grid_constant__: otherwise each
/// thread would copy the arrays in order to index them.
struct CopyLoop {
  int rank;
  int64_t extent[Shape::kMaxDims], x[Shape::kMaxDims], y[Shape::kMaxDims];

  explicit CopyLoop(const StridedCopy& c) : rank(c.extent.dim()) {
    for (int d = 0; d < rank; d++) extent[d] = c.extent[d], x[d] = c.x_strides[d], y[d] = c.y_strides[d];
  }
};

template <class T>
__global__ void copy_kernel(T* y, const T* x, const __grid_constant__ CopyLoop loop, int64_t n) {
  for (int64_t i = thread_index(); i < n; i += thread_count()) {
    int64_t at_x = 0, at_y = 0, rest = i;
    for (int d = loop.rank - 1; d >= 0; d--) {
      const auto [quotient, at] = divide(rest, loop.extent[d]);
      rest = quotient;
      at_x += at * loop.x[d];
      at_y += at * loop.y[d];
    }
    y[at_y] = x[at_x];
  }
}

template <class F, class T>
__global__ void broadcast_kernel(T* y, const T* a, const T* b, const __grid_constant__ BroadcastLoop loop, int64_t n) {
  for (int64_t i = thread_index(); i < n; i += thread_count()) {
    int64_t at_a = 0, at_b = 0, rest = i;
    for (int d = 0; d < loop.rank; d++) {
      const auto [quotient, at] = divide(rest, loop.size[d]);
      rest = quotient;
      at_a += at * loop.a[d];
      at_b += at * loop.b[d];
    }
    y[i] = Forward<F>()(a[at_a], b[at_b]);
  }
}

}  // namespace

void Cuda::copy_strided(Tensor& y, const Tensor& x, const StridedCopy& c) {
  const int64_t n = c.extent.numel();
  visit_any(y.dtype(), [&]<class T>() {
    launch(copy_kernel<T>, grid_for(n), y.data<T>() + c.y_offset, x.data<T>() + c.x_offset, CopyLoop(c), n);
  });
}

template <class F>
void Cuda::unary(Tensor& y, const Tensor& x) {
  visit_floating(x.dtype(), F::kName, [&]<class T>() { map(y.numel(), Forward<F>{}, y.data<T>(), x.data<T>()); });
}

template <class F>
void Cuda::unary_gradient(Tensor& dx, const Tensor& dy, const Tensor& saved) {
  visit_floating(dy.dtype(), F::kName,
                 [&]<class T>() { map(dx.numel(), Gradient<F>{}, dx.data<T>(), dy.data<T>(), saved.data<T>()); });
}

template <class F>
void Cuda::binary(Tensor& y, const Tensor& a, const Tensor& b) {
  const BroadcastLoop loop(y.shape(), a.shape(), b.shape());
  const bool alike = loop.rank == 1 && loop.a[0] == 1 && loop.b[0] == 1;
  const int64_t n = y.numel();
  visit_floating(y.dtype(), F::kName, [&]<class T>() {
    if (alike) return map(n, Forward<F>{}, y.data<T>(), a.data<T>(), b.data<T>());
    launch(broadcast_kernel<F, T>, grid_for(n), y.data<T>(), a.data<T>(), b.data<T>(), loop, n);
  });
}

#define FULCRUM_INSTANTIATE(F)                          \
  template void Cuda::unary<F>(Tensor&, const Tensor&); \
  template void Cuda::unary_gradient<F>(Tensor&, const Tensor&, const Tensor&);
FULCRUM_UNARY_FUNCTORS(FULCRUM_INSTANTIATE)
#undef FULCRUM_INSTANTIATE
#define FULCRUM_INSTANTIATE(F) template void Cuda::binary<F>(Tensor&, const Tensor&, const Tensor&);
FULCRUM_BINARY_FUNCTORS(FULCRUM_INSTANTIATE)
#undef FULCRUM_INSTANTIATE

namespace {

__global__ void mask_kernel(uint8_t* keep, const int64_t* position, int64_t before, Philox philox, float threshold,
                            int64_t n) {
  for (int64_t b = thread_index(); b < (n + 3) / 4; b += thread_count()) {
    const Words4 words = philox.block(static_cast<uint64_t>(*position + before + b));
    for (int64_t i = 4 * b; i < n && i < 4 * b + 4; i++) keep[i] = Philox::to_uniform(words.w[i % 4]) >= threshold;
  }
}

__global__ void advance_kernel(int64_t* position, int64_t blocks) { *position += blocks; }

}  // namespace

void Cuda::dropout(Tensor& y, Tensor& mask, const Tensor& x, double p, Generator& generator, DropoutBlocks range) {
  const int64_t n = x.numel(), blocks = (n + 3) / 4;
  int64_t* position = generator.position.data<int64_t>();
  launch(mask_kernel, grid_for(blocks), mask.data<uint8_t>(), position, range.before,
         Philox(generator.seed, generator.stream), static_cast<float>(p), n);
  // In a second kernel, since every block of the first one reads the position.
  launch(advance_kernel, Grid{1, 1}, position, range.all > 0 ? range.all : blocks);
  dropout_gradient(y, x, mask, p);
}

void Cuda::dropout_gradient(Tensor& dx, const Tensor& dy, const Tensor& mask, double p) {
  visit_floating(dy.dtype(), "dropout", [&]<class T>() {
    const auto scale = static_cast<Accumulate<T>>(1 / (1 - p));
    map(dx.numel(), KeepScaled<T>{scale}, dx.data<T>(), dy.data<T>(), mask.data<uint8_t>());
  });
}

}  // namespace fulcrum
