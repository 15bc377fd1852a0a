// y = f(y, x) for many pairs of tensors in few launches: adds the gradients of a backward pass, most of them small, to
// their arena, and moves moving averages towards a model's weights.
#include <fulcrum/core/functors.h>
#include <fulcrum/core/kernels.h>
#include <fulcrum/core/cuda/packs.cuh>

namespace fulcrum {

using namespace cuda;

namespace {

constexpr int kMostPairs = 96;    // a kernel's parameters are 4 KB at most
constexpr int64_t kPiece = 4096;  // elements of a pair that a block processes at a time

/// Pairs laid end to end in pieces: pair i begins at piece first_piece[i].
template <class T>
struct PairTable {
  int count = 0;
  int first_piece[kMostPairs + 1] = {};
  T* y[kMostPairs];
  const void* x[kMostPairs];
  int64_t size[kMostPairs];
  bool is_bf16[kMostPairs];  // whether x is bf16; else it is T
  bool wide[kMostPairs];     // whether both can be read as packs
};
static_assert(sizeof(PairTable<float>) <= 4096);

template <int N, class F, class T, class X>
__device__ void update_pack(F f, T* y, const X* x, int64_t at) {
  auto out = pack_at<N>(static_cast<const T*>(y), at);
  const auto in = pack_at<N>(x, at);
  for (int k = 0; k < N; k++) out.at[k] = f(out.at[k], in.at[k]);
  put_pack(y, at, out);
}

/// Updates n elements with all threads of a block.
template <class F, class T, class X>
__device__ void update_piece(F f, T* y, const X* x, int64_t n, bool wide) {
  constexpr int N = kPack<T>;
  const int64_t in_packs = wide ? n / N * N : 0;
  for (int64_t i = threadIdx.x * N; i < in_packs; i += kThreads * N) update_pack<N>(f, y, x, i);
  for (int64_t i = in_packs + threadIdx.x; i < n; i += kThreads) update_pack<1>(f, y, x, i);
}

template <class F, class T>
__global__ void pairs_kernel(F f, const __grid_constant__ PairTable<T> pairs) {
  const int pieces = pairs.first_piece[pairs.count];
  for (int piece = static_cast<int>(blockIdx.x); piece < pieces; piece += static_cast<int>(gridDim.x)) {
    int i = 0, high = pairs.count - 1;  // i becomes the last pair that begins at or before the piece
    while (i < high) {
      const int middle = i + (high - i + 1) / 2;
      if (pairs.first_piece[middle] <= piece) i = middle;
      else high = middle - 1;
    }
    const int64_t begin = (piece - pairs.first_piece[i]) * kPiece, left = pairs.size[i] - begin;
    const int64_t n = left < kPiece ? left : kPiece;
    T* y = pairs.y[i] + begin;
    if (pairs.is_bf16[i]) update_piece(f, y, static_cast<const bf16*>(pairs.x[i]) + begin, n, pairs.wide[i]);
    else update_piece(f, y, static_cast<const T*>(pairs.x[i]) + begin, n, pairs.wide[i]);
  }
}

/// Collects pairs; launches the kernel whenever its table is full, and for the rest at flush().
template <class F, class T>
class PairLaunches {
 public:
  explicit PairLaunches(F f) : f_(f) {}

  void append(const TensorPair& pair) {
    const bool is_bf16 = pair.x.dtype() == DType::kBf16;
    if (table_.count == kMostPairs) flush();
    const int i = table_.count++;
    const int64_t n = pair.y.numel();
    Tensor y = pair.y;
    table_.y[i] = y.data<T>();
    table_.x[i] = pair.x.raw();
    table_.size[i] = n;
    table_.is_bf16[i] = is_bf16;
    table_.wide[i] =
        fit_packs<kPack<T>>(table_.y[i]) && (is_bf16 ? fit_packs<kPack<T>>(static_cast<const bf16*>(table_.x[i]))
                                                     : fit_packs<kPack<T>>(static_cast<const T*>(table_.x[i])));
    table_.first_piece[i + 1] = table_.first_piece[i] + static_cast<int>((n + kPiece - 1) / kPiece);
  }

  void flush() {
    if (table_.count == 0) return;
    launch(pairs_kernel<F, T>, grid_for(table_.first_piece[table_.count] * int64_t{kThreads}), f_, table_);
    table_.count = 0;
  }

 private:
  F f_;
  PairTable<T> table_;
};

template <class T>
struct Approach {
  T weight;
  const double* control;
  template <class X>
  __device__ T operator()(T y, X x) const {
    return control && control[kBad] != 0 ? y : y + weight * (convert_to<T>(x) - y);
  }
};

}  // namespace

void Cuda::add_all(const std::vector<TensorPair>& pairs) {
  for (const DType dtype : {DType::kF32, DType::kBf16, DType::kF64})
    visit_floating(dtype, "add_all", [&]<class T>() {
      PairLaunches<AddTo<T>, T> launches(AddTo<T>{});
      for (auto [y, x] : pairs) {
        if (y.dtype() != dtype) continue;
        if (x.dtype() == dtype || x.dtype() == DType::kBf16) launches.append({y, x});
        else add_into(y, x);
      }
      launches.flush();
    });
}

void Cuda::lerp_all(const std::vector<TensorPair>& pairs, double weight, const Tensor& control) {
  const double* c = control ? control.data<double>() : nullptr;
  for (const DType dtype : {DType::kF32, DType::kF64})
    visit_master(dtype, [&]<class T>() {
      PairLaunches<Approach<T>, T> launches(Approach<T>{static_cast<T>(weight), c});
      for (const TensorPair& pair : pairs)
        if (pair.y.dtype() == dtype) launches.append(pair);
      launches.flush();
    });
}

}  // namespace fulcrum
