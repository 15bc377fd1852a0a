// The passes of batch normalisation over x: sums over the rows, whose last block computes the coefficients of each
// channel, and a pass that applies them. norm.cu runs one after the other; in norm_parts.cu, for a batch that is spread
// over processes, these add up their sums in between.
#pragma once

#include <cmath>
#include <type_traits>

#include <fulcrum/core/kernels.h>
#include <fulcrum/core/norm_rules.h>
#include <fulcrum/core/cuda/tiles.cuh>

namespace fulcrum::cuda {

/// Allocates scratch memory for [count, channels] coefficients that scale and shift the elements of a channel.
template <class A>
Tensor new_coefficients(int64_t count, int64_t channels, Device device) {
  return empty({count, channels}, {dtype_of<A>, device});
}

template <class A>
A* data_or_null(Tensor& t) {
  return t ? t.data<A>() : nullptr;
}
template <class A>
const A* data_or_null(const Tensor& t) {
  return t ? t.data<A>() : nullptr;
}

// ---- forward ------------------------------------------------------------------------------------

/// Computes the scale and shift of x − mean (norm_rules.h) into coefficients [2, channels].
template <class A>
struct Affine {
  const A *weight, *bias;
  A* coefficients;
  int64_t channels;
  double eps;

  /// Sets the coefficients of channel c; returns 1/√(variance + eps).
  __device__ double set(int64_t c, double mean, double variance) const {
    const ChannelAffine<A> channel(mean, variance, eps, weight, bias, c);
    coefficients[c] = static_cast<A>(channel.scale);
    coefficients[channels + c] = static_cast<A>(channel.shift);
    return channel.rstd;
  }
};

/// Σ (x − s) and Σ (x − s)², with s an element of the channel: this avoids the cancellation that ruins E x² − (E x)²
/// when the mean is large. Within a slab, s is the slab's first element; across slabs, the channel's first.
template <class T, int P>
struct Moments {
  using A = Accumulate<T>;
  using Op = SumOf;
  using Loaded = Pack<T, P>;
  static constexpr int kWidth = P, kLanes = most_lanes<T, P>, kAtOnce = 4, kSums = 2;
  struct Arguments {
    const T* x;
    A *mean, *rstd, *running_mean, *running_var;
    Affine<A> affine;
    int64_t rows;
    double momentum;
    double* sums;  // null, or [2, channels]: of a part of a batch, gets Σ x and Σ x²; nothing else is written
  };

  const T* x;
  A sum[2 * P] = {};
  A s[P] = {};
  Pack<T, P> origin;  // the channels' first elements

  __device__ void begin(const Arguments& a, int64_t at, int64_t c) {
    x = a.x;
    origin = load(c);
    const Pack<T, P> first = load(at);
    for (int k = 0; k < P; k++) s[k] = A(first.at[k]);
  }
  __device__ Loaded load(int64_t at) const { return pack_at<P>(x, at); }
  __device__ void take(const Loaded& in, int64_t) {
    for (int k = 0; k < P; k++) {
      const A d = A(in.at[k]) - s[k];
      sum[k] += d;
      sum[P + k] += d * d;
    }
  }
  /// The same sums, with s the first element of the channel.
  __device__ void totals(const Arguments&, int64_t, int k, int64_t rows, double (&total)[2]) const {
    const auto n = static_cast<double>(rows), u = static_cast<double>(sum[k]);
    const double d = static_cast<double>(s[k]) - static_cast<double>(A(origin.at[k]));
    total[0] = u + n * d;
    total[1] = static_cast<double>(sum[P + k]) + 2 * d * u + n * d * d;
  }
  static __device__ void finish(const Arguments& a, int64_t, int64_t c, const double (&total)[2]) {
    const auto n = static_cast<double>(a.rows);
    const double d = total[0] / n, mean = static_cast<double>(A(a.x[c])) + d;
    const double variance = not_negative(total[1] / n - d * d);
    if (a.sums) {
      a.sums[c] = n * mean;
      a.sums[a.affine.channels + c] = n * (variance + mean * mean);
      return;
    }
    a.mean[c] = static_cast<A>(mean);
    a.rstd[c] = static_cast<A>(a.affine.set(c, mean, variance));
    track(a.running_mean, c, mean, a.momentum);
    track(a.running_var, c, unbiased(variance, n), a.momentum);
  }
};

template <class A>
__global__ void running_coefficients(Affine<A> affine, const A* mean, const A* var) {
  for (int64_t c = thread_index(); c < affine.channels; c += thread_count())
    affine.set(c, static_cast<double>(mean[c]), static_cast<double>(var[c]));
}

/// y = relu?((x − mean)·scale + shift + residual?).
template <class T, int P>
struct Normalise {
  using A = Accumulate<T>;
  static constexpr int kWidth = P, kLanes = most_lanes<T, P>, kAtOnce = 2;
  struct Loaded {
    Pack<T, P> x, residual;
  };
  struct Arguments {
    T* y;
    const T *x, *residual;
    const A *mean, *affine;
    int64_t channels;
    bool relu;
  };

  Arguments a;
  Pack<A, P> mean, scale, shift;

  __device__ void begin(const Arguments& arguments, int64_t, int64_t c) {
    a = arguments;
    mean = pack_at<P>(a.mean, c);
    scale = pack_at<P>(a.affine, c);
    shift = pack_at<P>(a.affine, a.channels + c);
  }
  __device__ Loaded load(int64_t at) const {
    Loaded in{pack_at<P>(a.x, at), {}};
    if (a.residual) in.residual = pack_at<P>(a.residual, at);
    return in;
  }
  __device__ void take(const Loaded& in, int64_t at) const {
    Pack<T, P> out;
    for (int k = 0; k < P; k++) {
      A v = normalised(A(in.x.at[k]), mean.at[k], scale.at[k], shift.at[k]);
      if (a.residual) v += A(in.residual.at[k]);
      if (a.relu) v = v < A(0) ? A(0) : v;
      out.at[k] = T(v);
    }
    put_pack(a.y, at, out);
  }
};

/// The second pass of the forward, with given coefficients.
template <class T, int P>
void normalise(Tensor& y, const Tensor& x, const Tensor& residual, const Tensor& mean, const Tensor& affine,
               const BatchNormOptions& o) {
  using A = Accumulate<T>;
  const int64_t channels = x.size(-1);
  apply_tiles<Normalise<T, P>>(
      1, x.numel() / channels, channels,
      {y.data<T>(), x.data<T>(), data_or_null<T>(residual), mean.data<A>(), affine.data<A>(), channels, o.relu});
}

// ---- gradient -----------------------------------------------------------------------------------

/// The inputs of dz, the gradient of the ReLU's input: dy where this input was positive, else 0.
template <class T>
struct GradientPointers {
  using A = Accumulate<T>;
  const T *dy, *also, *x, *y;  // also: null, or a second term of dy; y: null, or the result of the ReLU
  const A *mean, *affine;      // affine: null where y gives the mask
};

/// Channels per thread: few enough that what a thread keeps for each fits in its registers.
template <int P>
inline constexpr int kGradientWidth = P < 4 ? P : 4;

/// What a thread reads for its channels. kMask is kInput, or kResult, which includes no ReLU at all (y null).
template <class T, int P, ReluMask kMask, bool kTwo>
struct GradientInputs {
  using A = Accumulate<T>;
  static constexpr bool kFromInput = kMask == ReluMask::kInput;
  static constexpr int kTensors = 2 + kTwo + !kFromInput;
  /// Rows whose loads are in flight together: four if that is 64 bytes per thread, else two. With two blocks of sums on
  /// a multiprocessor there are enough registers for it.
  static constexpr int kAtOnce = P * kTensors * static_cast<int>(sizeof(T)) == 16 ? 4 : 2;
  struct Nothing {};
  struct Loaded {
    Pack<T, P> dy, x;
    std::conditional_t<kTwo, Pack<T, P>, Nothing> also;
    std::conditional_t<kFromInput, Nothing, Pack<T, P>> y;
  };

  const T *dy, *also, *x, *y;
  Pack<A, P> mean;
  std::conditional_t<kFromInput, Pack<A, P>, Nothing> scale, shift;

  __device__ void begin(const GradientPointers<T>& p, int64_t channels, int64_t c) {
    dy = p.dy, also = p.also, x = p.x, y = p.y;
    mean = pack_at<P>(p.mean, c);
    if constexpr (kFromInput) {
      scale = pack_at<P>(p.affine, c);
      shift = pack_at<P>(p.affine, channels + c);
    }
  }
  __device__ Loaded load(int64_t at) const {
    Loaded in;
    in.dy = pack_at<P>(dy, at);
    in.x = pack_at<P>(x, at);
    if constexpr (kTwo) in.also = pack_at<P>(also, at);
    if constexpr (!kFromInput) {
      if (y) in.y = pack_at<P>(y, at);
    }
    return in;
  }
  __device__ Pack<T, P> dz(const Loaded& in) const {
    Pack<T, P> dz = in.dy;
    for (int k = 0; k < P; k++) {
      if constexpr (kTwo) dz.at[k] = T(A(dz.at[k]) + A(in.also.at[k]));
      if constexpr (kFromInput) {
        if (!(normalised(A(in.x.at[k]), mean.at[k], scale.at[k], shift.at[k]) > 0)) dz.at[k] = T(0);
      } else {
        if (y && !(A(in.y.at[k]) > 0)) dz.at[k] = T(0);
      }
    }
    return dz;
  }
  __device__ A centred(const Loaded& in, int k) const { return A(in.x.at[k]) - mean.at[k]; }
};

/// Writes the results of ChannelGradient (norm_rules.h) for channel c.
template <class Arguments>
__device__ void set_gradient_coefficients(const Arguments& a, int64_t c, double first, double second) {
  using A = std::remove_pointer_t<decltype(a.coefficients)>;
  const ChannelGradient<A> channel(first, second, a.weight, a.rstd, a.share, c);
  if (a.dbias) a.dbias[c] = static_cast<A>(channel.dbias);
  if (a.dweight) a.dweight[c] = static_cast<A>(channel.dweight);
  a.coefficients[c] = static_cast<A>(channel.scale);
  a.coefficients[a.channels + c] = static_cast<A>(channel.slope);
  a.coefficients[2 * a.channels + c] = static_cast<A>(channel.offset);
}

/// Σ dz and Σ dz·(x − mean); writes dz unless it is null.
template <class T, int P, ReluMask kMask, bool kTwo>
struct GradientSums {
  using A = Accumulate<T>;
  using Op = SumOf;
  using Inputs = GradientInputs<T, P, kMask, kTwo>;
  using Loaded = typename Inputs::Loaded;
  static constexpr int kWidth = P, kLanes = most_lanes<T, P>, kAtOnce = Inputs::kAtOnce, kSums = 2;
  struct Arguments {
    GradientPointers<T> pointers;
    T* dz;
    const A *rstd, *weight;
    A *dweight, *dbias, *coefficients;
    int64_t channels;
    double share;  // 1/rows, 0 where mean and rstd are constants
    double* sums;  // null, or [2, channels]: of a part of a batch, gets the two sums; nothing else is written
  };

  Inputs inputs;
  T* dz;
  A sum[2 * P] = {};

  __device__ void begin(const Arguments& a, int64_t, int64_t c) {
    inputs.begin(a.pointers, a.channels, c);
    dz = a.dz;
  }
  __device__ Loaded load(int64_t at) const { return inputs.load(at); }
  __device__ void take(const Loaded& in, int64_t at) {
    const Pack<T, P> d = inputs.dz(in);
    if (dz) put_pack(dz, at, d);
    for (int k = 0; k < P; k++) {
      sum[k] += A(d.at[k]);
      sum[P + k] += A(d.at[k]) * inputs.centred(in, k);
    }
  }
  __device__ void totals(const Arguments&, int64_t, int k, int64_t, double (&total)[2]) const {
    for (int s = 0; s < 2; s++) total[s] = static_cast<double>(sum[s * P + k]);
  }
  static __device__ void finish(const Arguments& a, int64_t, int64_t c, const double (&total)[2]) {
    if (a.sums) {
      a.sums[c] = total[0];
      a.sums[a.channels + c] = total[1];
      return;
    }
    set_gradient_coefficients(a, c, total[0], total[1]);
  }
};

template <class T, int P, ReluMask kMask>
struct InputGradient {
  using A = Accumulate<T>;
  using Inputs = GradientInputs<T, P, kMask, false>;
  using Loaded = typename Inputs::Loaded;
  static constexpr int kWidth = P, kLanes = most_lanes<T, P>, kAtOnce = Inputs::kAtOnce;
  struct Arguments {
    GradientPointers<T> pointers;
    T* dx;
    const A* coefficients;
    int64_t channels;
  };

  Inputs inputs;
  T* dx;
  Pack<A, P> scale, slope, offset;

  __device__ void begin(const Arguments& a, int64_t, int64_t c) {
    inputs.begin(a.pointers, a.channels, c);
    dx = a.dx;
    scale = pack_at<P>(a.coefficients, c);
    slope = pack_at<P>(a.coefficients, a.channels + c);
    offset = pack_at<P>(a.coefficients, 2 * a.channels + c);
  }
  __device__ Loaded load(int64_t at) const { return inputs.load(at); }
  __device__ void take(const Loaded& in, int64_t at) const {
    const Pack<T, P> dz = inputs.dz(in);
    Pack<T, P> out;
    for (int k = 0; k < P; k++)
      out.at[k] = T(A(dz.at[k]) * scale.at[k] + (inputs.centred(in, k) * slope.at[k] + offset.at[k]));
    put_pack(dx, at, out);
  }
};

/// The second pass of the gradient. pointers.also is not read.
template <class T, int P, ReluMask kMask>
void apply_gradient(Tensor& dx, const GradientPointers<T>& pointers, const Tensor& coefficients) {
  const int64_t channels = dx.size(-1);
  apply_tiles<InputGradient<T, P, kMask>>(1, dx.numel() / channels, channels,
                                          {pointers, dx.data<T>(), coefficients.data<Accumulate<T>>(), channels});
}

}  // namespace fulcrum::cuda
