// Batch normalisation for one part of a batch that is spread over processes: the passes of norm.cu, split where the
// processes add up their sums.
#include <fulcrum/core/norm_rules.h>
#include <fulcrum/core/cuda/map.cuh>
#include <fulcrum/core/cuda/norm.cuh>

namespace fulcrum {

using namespace cuda;

void Cuda::batch_norm_sums(Tensor& sums, const Tensor& x) {
  visit_floating(x.dtype(), "batch_norm", [&]<class T>() {
    using A = Accumulate<T>;
    const int64_t channels = x.size(-1), rows = x.numel() / channels;
    const Affine<A> affine{nullptr, nullptr, nullptr, channels, 0};
    const auto run = [&]<int P>() {
      sum_tiles<Moments<T, P>>(1, rows, channels,
                               {x.data<T>(), nullptr, nullptr, nullptr, nullptr, affine, rows, 0, sums.data<double>()});
    };
    visit_width<T>(channels, run, x.data<T>());
  });
}

namespace {

template <class A>
struct MomentsOfSums {
  A *mean, *var, *rstd, *running_mean, *running_var;
  const double* sums;
  int64_t channels;
  double rows, eps, momentum;
};

template <class A>
__global__ void moments_kernel(MomentsOfSums<A> a) {
  for (int64_t c = thread_index(); c < a.channels; c += thread_count()) {
    const BatchMoments m(a.sums[c], a.sums[a.channels + c], a.rows);
    a.mean[c] = static_cast<A>(m.mean);
    a.var[c] = static_cast<A>(m.variance);
    a.rstd[c] = static_cast<A>(1 / std::sqrt(m.variance + a.eps));
    track(a.running_mean, c, m.mean, a.momentum);
    track(a.running_var, c, unbiased(m.variance, a.rows), a.momentum);
  }
}

template <class A>
struct CoefficientsOfSums {
  const A *rstd, *weight;
  A *dweight, *dbias, *coefficients;
  const double* sums;
  int64_t channels;
  double share;
};

template <class A>
__global__ void gradient_coefficients(CoefficientsOfSums<A> a) {
  for (int64_t c = thread_index(); c < a.channels; c += thread_count())
    set_gradient_coefficients(a, c, a.sums[c], a.sums[a.channels + c]);
}

}  // namespace

void Cuda::batch_norm_moments(Tensor& mean, Tensor& var, Tensor& rstd, Tensor& running_mean, Tensor& running_var,
                              const Tensor& sums, int64_t rows, const BatchNormOptions& o) {
  const auto run = [&]<class A>() {
    const MomentsOfSums<A> a{mean.data<A>(),
                             var.data<A>(),
                             rstd.data<A>(),
                             data_or_null<A>(running_mean),
                             data_or_null<A>(running_var),
                             sums.data<double>(),
                             mean.numel(),
                             static_cast<double>(rows),
                             o.eps,
                             o.momentum};
    launch(moments_kernel<A>, grid_for(a.channels), a);
  };
  mean.dtype() == DType::kF64 ? run.operator()<double>() : run.operator()<float>();
}

void Cuda::batch_norm_gradient_sums(Tensor& sums, Tensor& dresidual, const Tensor& dy, const Tensor& x, const Tensor& y,
                                    const Tensor& mean, const BatchNormOptions& o) {
  visit_floating(x.dtype(), "batch_norm_gradient", [&]<class T>() {
    using A = Accumulate<T>;
    const int64_t channels = x.size(-1), rows = x.numel() / channels;
    const T *pdy = dy.data<T>(), *px = x.data<T>(), *py = o.relu ? y.data<T>() : nullptr;
    T* dz = data_or_null<T>(dresidual);
    const auto run = [&]<int kWidest>() {
      constexpr int P = kGradientWidth<kWidest>;
      sum_tiles<GradientSums<T, P, ReluMask::kResult, false>>(1, rows, channels,
                                                              {{pdy, nullptr, px, py, mean.data<A>(), nullptr},
                                                               dz,
                                                               nullptr,
                                                               nullptr,
                                                               nullptr,
                                                               nullptr,
                                                               nullptr,
                                                               channels,
                                                               0,
                                                               sums.data<double>()});
    };
    visit_width<T>(channels, run, pdy, px, py, static_cast<const T*>(dz), mean.data<A>());
  });
}

void Cuda::batch_norm_gradient_apply(Tensor& dx, const Tensor& dy, const Tensor& x, const Tensor& y, const Tensor& mean,
                                     const Tensor& rstd, const Tensor& weight, const Tensor& sums, int64_t rows,
                                     const BatchNormOptions& o) {
  visit_floating(x.dtype(), "batch_norm_gradient", [&]<class T>() {
    using A = Accumulate<T>;
    const int64_t channels = x.size(-1);
    Tensor coefficients = new_coefficients<A>(3, channels, x.device());
    const CoefficientsOfSums<A> a{rstd.data<A>(), data_or_null<A>(weight),      nullptr,
                                  nullptr,        coefficients.data<A>(),       sums.data<double>(),
                                  channels,       1 / static_cast<double>(rows)};
    launch(gradient_coefficients<A>, grid_for(channels), a);
    const T *pdy = dy.data<T>(), *px = x.data<T>(), *py = o.relu ? y.data<T>() : nullptr;
    const auto run = [&]<int kWidest>() {
      constexpr int P = kGradientWidth<kWidest>;
      apply_gradient<T, P, ReluMask::kResult>(dx, {pdy, nullptr, px, py, mean.data<A>(), nullptr}, coefficients);
    };
    visit_width<T>(channels, run, dx.data<T>(), pdy, px, py, mean.data<A>());
  });
}

}  // namespace fulcrum
