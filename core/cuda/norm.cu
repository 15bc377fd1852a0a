// Batch normalisation, fused with the residual sum and the ReLU behind it. Forward and gradient are two
// launches each.
#include <fulcrum/core/cuda/norm.cuh>

namespace fulcrum {

using namespace cuda;

void Cuda::batch_norm_train(Tensor& y, Tensor& mean, Tensor& rstd, Tensor& running_mean, Tensor& running_var,
                            const Tensor& x, const Tensor& residual, const Tensor& weight, const Tensor& bias,
                            const BatchNormOptions& o) {
  visit_floating(x.dtype(), "batch_norm", [&]<class T>() {
    using A = Accumulate<T>;
    const int64_t channels = x.size(-1), rows = x.numel() / channels;
    Tensor coefficients = new_coefficients<A>(channels, x.device());
    const Affine<A> affine{data_or_null<A>(weight), data_or_null<A>(bias), coefficients.data<A>(), channels, o.eps};
    const auto run = [&]<int P>() {
      sum_tiles<Moments<T, P>>(1, rows, channels,
                               {x.data<T>(), mean.data<A>(), rstd.data<A>(), data_or_null<A>(running_mean),
                                data_or_null<A>(running_var), affine, rows, o.momentum, nullptr});
      normalise<T, P>(y, x, residual, coefficients, o);
    };
    visit_width<T>(channels, run, y.data<T>(), x.data<T>(), data_or_null<T>(residual));
  });
}

void Cuda::batch_norm_eval(Tensor& y, const Tensor& x, const Tensor& residual, const Tensor& running_mean,
                           const Tensor& running_var, const Tensor& weight, const Tensor& bias,
                           const BatchNormOptions& o) {
  visit_floating(x.dtype(), "batch_norm", [&]<class T>() {
    using A = Accumulate<T>;
    const int64_t channels = x.size(-1);
    Tensor coefficients = new_coefficients<A>(channels, x.device());
    const Affine<A> affine{data_or_null<A>(weight), data_or_null<A>(bias), coefficients.data<A>(), channels, o.eps};
    launch(running_coefficients<A>, grid_for(channels), affine, running_mean.data<A>(), running_var.data<A>());
    const auto run = [&]<int P>() { normalise<T, P>(y, x, residual, coefficients, o); };
    visit_width<T>(channels, run, y.data<T>(), x.data<T>(), data_or_null<T>(residual));
  });
}

void Cuda::batch_norm_gradient(Tensor& dx, Tensor& dresidual, Tensor& dweight, Tensor& dbias, const Tensor& dy,
                               const Tensor& x, const Tensor& y, const Tensor& mean, const Tensor& rstd,
                               const Tensor& weight, const BatchNormOptions& o) {
  visit_floating(x.dtype(), "batch_norm_gradient", [&]<class T>() {
    using A = Accumulate<T>;
    const int64_t channels = x.size(-1), rows = x.numel() / channels;
    const T *pdy = dy.data<T>(), *px = x.data<T>(), *py = o.relu ? y.data<T>() : nullptr;
    T* dz = data_or_null<T>(dresidual);
    Tensor coefficients = new_coefficients<A>(channels, x.device());
    const double share = o.training ? 1 / static_cast<double>(rows) : 0;
    const auto run = [&]<int P>() {
      sum_tiles<GradientSums<T, P>>(1, rows, channels,
                                    {{pdy, px, py},
                                     dz,
                                     mean.data<A>(),
                                     rstd.data<A>(),
                                     data_or_null<A>(weight),
                                     data_or_null<A>(dweight),
                                     data_or_null<A>(dbias),
                                     coefficients.data<A>(),
                                     channels,
                                     share,
                                     nullptr});
      const GradientInputs<T, P> inputs =
          dz ? GradientInputs<T, P>{dz, px, nullptr} : GradientInputs<T, P>{pdy, px, py};
      apply_gradient<T, P>(dx, inputs, mean, coefficients, rows, channels);
    };
    visit_width<T>(channels, run, dx.data<T>(), pdy, px, py, static_cast<const T*>(dz));
  });
}

}  // namespace fulcrum
