// Reductions over rows: y [outer, channels] = the sum or maximum over the rows of x [outer, rows, channels], times a
// factor (for means). bf16 and f32 are summed in f32 within a thread and a block, in f64 across blocks.
#pragma once

#include <fulcrum/core/cuda/tiles.cuh>

namespace fulcrum::cuda {

template <class Join, class T, class Y, int P>
struct ColumnReducer {
  using A = Accumulate<T>;
  using Op = Join;
  using Loaded = Pack<T, P>;
  static constexpr int kWidth = P, kLanes = most_lanes<T, P>, kAtOnce = 4, kSums = 1;
  struct Arguments {
    const T* x;
    Y* y;
    int64_t channels;
    double factor;
  };

  const T* x;
  A sum[P];

  __device__ ColumnReducer() : x(nullptr) {
    for (A& s : sum) s = Op::template start<A>();
  }
  __device__ void begin(const Arguments& a, int64_t, int64_t) { x = a.x; }
  __device__ Loaded load(int64_t at) const { return pack_at<P>(x, at); }
  __device__ void take(const Loaded& in, int64_t) {
    for (int k = 0; k < P; k++) sum[k] = Op::join(sum[k], A(in.at[k]));
  }
  __device__ void totals(const Arguments&, int64_t, int k, int64_t, double (&total)[1]) const {
    total[0] = static_cast<double>(sum[k]);
  }
  static __device__ void finish(const Arguments& a, int64_t outer, int64_t c, const double (&total)[1]) {
    a.y[outer * a.channels + c] = Y(static_cast<Accumulate<Y>>(total[0] * a.factor));
  }
};

template <class Op, class T, class Y>
void reduce_columns(Y* y, const T* x, int64_t outer, int64_t rows, int64_t channels, double factor) {
  const auto reduce = [&]<int P>() {
    sum_tiles<ColumnReducer<Op, T, Y, P>>(outer, rows, channels, {x, y, channels, factor});
  };
  visit_width<T>(channels, reduce, x);
}

}  // namespace fulcrum::cuda
