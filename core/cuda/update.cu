// Optimiser steps over arenas: one launch for all parameters of all groups.
#include <type_traits>

#include <fulcrum/core/kernels.h>
#include <fulcrum/core/update_rules.h>
#include <fulcrum/core/cuda/packs.cuh>
#include <fulcrum/core/cuda/ticket.cuh>

namespace fulcrum {

using namespace cuda;

namespace {

struct SegmentTable {
  const int64_t *offset, *size;
  const int32_t* group;
  const double* hyper;
  int64_t count;

  explicit SegmentTable(const Segments& s)
      : offset(s.offset.data<int64_t>()),
        size(s.size.data<int64_t>()),
        group(s.group.data<int32_t>()),
        hyper(s.hyper.data<double>()),
        count(s.offset.numel()) {}

  /// The last segment of [low, high] that starts at or before element i; low where there is none.
  __device__ int64_t find(int64_t i, int64_t low, int64_t high) const {
    while (low < high) {
      const int64_t middle = low + (high - low + 1) / 2;
      if (offset[middle] <= i) low = middle;
      else high = middle - 1;
    }
    return low;
  }
  /// Whether `width` elements from i lie in segment k.
  __device__ bool holds(int64_t k, int64_t i, int width) const {
    return i >= offset[k] && i + width <= offset[k] + size[k];
  }
  __device__ double lr(int64_t k) const { return hyper[2 * group[k]]; }
  __device__ double weight_decay(int64_t k) const { return hyper[2 * group[k] + 1]; }
};

template <int N>
using Width = std::integral_constant<int, N>;

constexpr int64_t kPacksPerThread = 2;
/// The number of neighbouring elements that a block processes at a time.
template <int N>
constexpr int64_t kPiece = kThreads* N* kPacksPerThread;

/// Calls f(i, k, Width<W>) for the elements [i, i + W) of segment k, so that the calls of the whole
/// grid reach each element of each segment once. W is N, or 1 at a segment's ends.
template <int N, class F>
__device__ void for_segments(const SegmentTable& s, int64_t total, F f) {
  for (int64_t begin = blockIdx.x * kPiece<N>; begin < total; begin += gridDim.x * kPiece<N>) {
    const int64_t end = begin + kPiece<N> < total ? begin + kPiece<N> : total;
    const int64_t first = s.find(begin, 0, s.count - 1), last = s.find(end - 1, first, s.count - 1);
    for (int64_t i = begin + threadIdx.x * N; i < end; i += kThreads * N) {
      int64_t k = s.find(i, first, last);
      if (s.holds(k, i, N)) {
        f(i, k, Width<N>());
        continue;
      }
      for (int64_t j = i; j < i + N && j < end; j++) {
        while (k < last && s.offset[k + 1] <= j) k++;
        if (s.holds(k, j, 1)) f(j, k, Width<1>());
      }
    }
  }
}

/// Calls f.operator()<N>(grid) with the width that all of these arenas allow.
template <class T, class F, class... Pointers>
void visit_updates(int64_t total, F&& f, const Pointers*... arenas) {
  const auto grid = [total](int64_t piece) { return grid_for((total + piece - 1) / piece * kThreads); };
  if (aligned(arenas...)) return f.template operator()<kPack<T>>(grid(kPiece<kPack<T>>));
  f.template operator()<1>(grid(kPiece<1>));
}

template <int N, class T>
__device__ void write_twin(bf16* twin, int64_t i, const Pack<T, N>& p) {
  if (!twin) return;
  Pack<bf16, N> t;
  for (int n = 0; n < N; n++) t.at[n] = bf16(static_cast<float>(p.at[n]));
  put_pack(twin, i, t);
}

__device__ unsigned norm_arrived;

template <int N, class T>
__global__ void begin_kernel(double* control, double* partial, const T* grad, SegmentTable s, int64_t total,
                             double max_norm) {
  double squares = 0;
  for_segments<N>(s, total, [&](int64_t i, int64_t, auto width) {
    const auto g = pack_at<width()>(grad, i);
    for (int n = 0; n < width(); n++) squares += static_cast<double>(g.at[n]) * static_cast<double>(g.at[n]);
  });
  squares = block_reduce<SumOf>(squares);
  if (threadIdx.x == 0) partial[blockIdx.x] = squares;
  if (!last_block(&norm_arrived)) return;
  double sum = 0;
  for (unsigned b = threadIdx.x; b < gridDim.x; b += blockDim.x) sum += partial[b];
  sum = block_reduce<SumOf>(sum);
  if (threadIdx.x == 0) begin_step(control, sum, max_norm);
}

template <class T>
__global__ void check_kernel(double* control, const T* losses, int64_t n) {
  for (int64_t i = thread_index(); i < n; i += thread_count())
    if (!std::isfinite(losses[i])) control[kBad] = 1;
}

template <int N, class T>
__global__ void sgd_kernel(T* param, T* momentum, bf16* twin, const T* grad, const double* control, SegmentTable s,
                           int64_t total, SgdRule rule) {
  if (control[kBad] != 0) return;
  const double clip = control[kClip];
  for_segments<N>(s, total, [&](int64_t i, int64_t k, auto width) {
    constexpr int kWidth = width();
    const SgdStep<T> step(rule, s.lr(k), s.weight_decay(k), clip);
    const auto g = pack_at<kWidth>(grad, i);
    auto p = pack_at<kWidth>(param, i);
    if (momentum) {
      auto m = pack_at<kWidth>(momentum, i);
      for (int n = 0; n < kWidth; n++) step(p.at[n], m.at[n], g.at[n]);
      put_pack(momentum, i, m);
    } else {
      for (int n = 0; n < kWidth; n++) step(p.at[n], g.at[n]);
    }
    put_pack(param, i, p);
    write_twin(twin, i, p);
  });
}

template <int N, class T>
__global__ void adam_kernel(T* param, T* first, T* second, bf16* twin, const T* grad, const double* control,
                            SegmentTable s, int64_t total, AdamRule rule) {
  if (control[kBad] != 0) return;
  __shared__ AdamCorrections corrections;
  if (threadIdx.x == 0) corrections = adam_corrections(rule, control[kStep]);
  __syncthreads();
  const double clip = control[kClip];
  for_segments<N>(s, total, [&](int64_t i, int64_t k, auto width) {
    constexpr int kWidth = width();
    const AdamStep<T> step(rule, s.lr(k), s.weight_decay(k), clip, corrections);
    const auto g = pack_at<kWidth>(grad, i);
    auto p = pack_at<kWidth>(param, i);
    auto m = pack_at<kWidth>(first, i);
    auto v = pack_at<kWidth>(second, i);
    for (int n = 0; n < kWidth; n++) step(p.at[n], m.at[n], v.at[n], g.at[n]);
    put_pack(param, i, p);
    put_pack(first, i, m);
    put_pack(second, i, v);
    write_twin(twin, i, p);
  });
}

}  // namespace

void Cuda::begin_update(Tensor& control, const Tensor& grad, const Segments& s, double max_norm) {
  const int64_t total = grad.numel();
  Tensor partial = empty({kMaxBlocks}, {DType::kF64, grad.device()});
  visit_master(grad.dtype(), [&]<class T>() {
    const T* g = grad.data<T>();
    visit_updates<T>(
        total,
        [&]<int N>(Grid grid) {
          launch(begin_kernel<N, T>, grid, control.data<double>(), partial.data<double>(), g, SegmentTable(s), total,
                 max_norm);
        },
        g);
  });
}

void Cuda::check_finite(Tensor& control, const Tensor& losses) {
  visit_master(losses.dtype(), [&]<class T>() {
    launch(check_kernel<T>, grid_for(losses.numel()), control.data<double>(), losses.data<T>(), losses.numel());
  });
}

void Cuda::sgd_update(Tensor& param, Tensor& momentum, Tensor& twin, const Tensor& grad, const Tensor& control,
                      const Segments& s, const SgdRule& rule) {
  visit_master(param.dtype(), [&]<class T>() {
    T *p = param.data<T>(), *m = momentum ? momentum.data<T>() : nullptr;
    bf16* t = twin ? twin.data<bf16>() : nullptr;
    const T* g = grad.data<T>();
    visit_updates<T>(
        param.numel(),
        [&]<int N>(Grid grid) {
          launch(sgd_kernel<N, T>, grid, p, m, t, g, control.data<double>(), SegmentTable(s), param.numel(), rule);
        },
        p, m, t, g);
  });
}

void Cuda::adam_update(Tensor& param, Tensor& first, Tensor& second, Tensor& twin, const Tensor& grad,
                       const Tensor& control, const Segments& s, const AdamRule& rule) {
  visit_master(param.dtype(), [&]<class T>() {
    T *p = param.data<T>(), *m = first.data<T>(), *v = second.data<T>();
    bf16* t = twin ? twin.data<bf16>() : nullptr;
    const T* g = grad.data<T>();
    visit_updates<T>(
        param.numel(),
        [&]<int N>(Grid grid) {
          launch(adam_kernel<N, T>, grid, p, m, v, t, g, control.data<double>(), SegmentTable(s), param.numel(), rule);
        },
        p, m, v, t, g);
  });
}

}  // namespace fulcrum
