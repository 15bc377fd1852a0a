// Sums, maxima and argmax.
#include <fulcrum/core/kernels.h>
#include <fulcrum/core/loops.h>
#include <fulcrum/core/cuda/columns.cuh>
#include <fulcrum/core/cuda/rows.cuh>

namespace fulcrum {

using namespace cuda;

namespace {

/// The elements that are reduced to an output, for any mixture of kept and reduced dimensions: those of output o are at
/// base(o) + at(0 … count − 1).
struct ReducedElements {
  int kept = 0, reduced = 0;
  int64_t kept_size[Shape::kMaxDims], kept_stride[Shape::kMaxDims];  // innermost first
  int64_t reduced_size[Shape::kMaxDims], reduced_stride[Shape::kMaxDims];
  int64_t count = 1;

  explicit ReducedElements(const ReductionLoop& loop) {
    int64_t stride = 1;
    for (int d = loop.rank - 1; d >= 0; d--) {
      if (loop.reduced[d]) {
        reduced_size[reduced] = loop.size[d], reduced_stride[reduced++] = stride;
        count *= loop.size[d];
      } else {
        kept_size[kept] = loop.size[d], kept_stride[kept++] = stride;
      }
      stride *= loop.size[d];
    }
  }
  __device__ int64_t base(int64_t o) const { return offset(o, kept, kept_size, kept_stride); }
  __device__ int64_t at(int64_t i) const { return offset(i, reduced, reduced_size, reduced_stride); }

  /// The last dimension takes what is left of i, so that a single dimension costs no division.
  __device__ static int64_t offset(int64_t i, int rank, const int64_t* size, const int64_t* stride) {
    int64_t offset = 0;
    for (int d = 0; d + 1 < rank; d++) {
      offset += i % size[d] * stride[d];
      i /= size[d];
    }
    return rank > 0 ? offset + i * stride[rank - 1] : offset;
  }
};

/// One thread per output or, where neighbours are reduced, one warp, whose lanes read them together.
template <class Op, bool kWholeWarp, class T, class Y>
__global__ void reduce_kernel(Y* y, const T* x, const __grid_constant__ ReducedElements elements, int64_t outputs) {
  using A = Accumulate<T>;
  constexpr int64_t kLanes = kWholeWarp ? kWarp : 1;
  for (int64_t o = thread_index() / kLanes; o < outputs; o += thread_count() / kLanes) {
    const int64_t base = elements.base(o);
    A value = Op::template start<A>();
    for (int64_t i = threadIdx.x % kLanes; i < elements.count; i += kLanes)
      value = Op::join(value, A(x[base + elements.at(i)]));
    if constexpr (kWholeWarp) value = warp_reduce<Op>(value);
    if (threadIdx.x % kLanes == 0) y[o] = Y(static_cast<Accumulate<Y>>(value));
  }
}

/// x as [outer, rows, channels], of which the rows are reduced; rows = 0 if x does not have that form.
struct Columns {
  int64_t outer = 1, rows = 0, channels = 1;

  explicit Columns(const ReductionLoop& loop) {
    int d = 0;
    if (d < loop.rank && !loop.reduced[d]) outer = loop.size[d++];
    if (d < loop.rank) rows = loop.size[d++];
    if (d < loop.rank) channels = loop.size[d++];
    if (d < loop.rank) rows = 0;
  }
  /// Whether there is enough work for whole blocks.
  bool many() const { return rows >= (channels > 1 ? 32 : 1024); }
};

template <class Op>
void reduce(const char* op, Tensor& y, const Tensor& x) {
  const ReductionLoop loop(x.shape(), y.shape());
  const Columns columns(loop);
  const bool innermost_kept = loop.rank > 0 && !loop.reduced[loop.rank - 1];
  const int64_t outputs = y.numel();
  visit_floating(x.dtype(), op, [&]<class T>() {
    visit_floating(y.dtype(), op, [&]<class Y>() {
      const T* in = x.data<T>();
      Y* out = y.data<Y>();
      if (columns.many()) return reduce_columns<Op>(out, in, columns.outer, columns.rows, columns.channels, 1.0);
      const ReducedElements elements(loop);
      if (innermost_kept || elements.count < 16) {
        launch(reduce_kernel<Op, false, T, Y>, grid_for(outputs), out, in, elements, outputs);
      } else {
        launch(reduce_kernel<Op, true, T, Y>, grid_for(outputs * kWarp), out, in, elements, outputs);
      }
    });
  });
}

template <class T>
__global__ void argmax_kernel(int64_t* y, const T* x, int64_t rows, int64_t columns) {
  for (int64_t r = WarpRow::first(); r < rows; r += WarpRow::step()) {
    const int64_t at = warp_argmax(x + r * columns, columns);
    if (WarpRow::lane() == 0) y[r] = at;
  }
}

}  // namespace

void Cuda::reduce_sum(Tensor& y, const Tensor& x) { reduce<SumOf>("reduce_sum", y, x); }
void Cuda::reduce_max(Tensor& y, const Tensor& x) { reduce<MaxOf>("reduce_max", y, x); }

void Cuda::argmax(Tensor& y, const Tensor& x) {
  const int64_t rows = y.numel(), columns = x.size(-1);
  visit_floating(x.dtype(), "argmax", [&]<class T>() {
    launch(argmax_kernel<T>, grid_for(rows * kWarp), y.data<int64_t>(), x.data<T>(), rows, columns);
  });
}

}  // namespace fulcrum
