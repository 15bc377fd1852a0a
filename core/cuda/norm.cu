// Batch normalisation, fused with the residual sum and the ReLU after it. Forward and gradient are two launches each.
#include <fulcrum/core/cuda/norm.cuh>

namespace fulcrum {

using namespace cuda;

void Cuda::batch_norm_train(Tensor& y, Tensor& mean, Tensor& rstd, Tensor& affine, Tensor& running_mean,
                            Tensor& running_var, const Tensor& x, const Tensor& residual, const Tensor& weight,
                            const Tensor& bias, const BatchNormOptions& o) {
  visit_floating(x.dtype(), "batch_norm", [&]<class T>() {
    using A = Accumulate<T>;
    const int64_t channels = x.size(-1), rows = x.numel() / channels;
    const Affine<A> set{data_or_null<A>(weight), data_or_null<A>(bias), affine.data<A>(), channels, o.eps};
    const auto run = [&]<int P>() {
      sum_tiles<Moments<T, P>>(1, rows, channels,
                               {x.data<T>(), mean.data<A>(), rstd.data<A>(), data_or_null<A>(running_mean),
                                data_or_null<A>(running_var), set, rows, o.momentum, nullptr});
      normalise<T, P>(y, x, residual, mean, affine, o);
    };
    visit_width<T>(channels, run, y.data<T>(), x.data<T>(), data_or_null<T>(residual), mean.data<A>(),
                   affine.data<A>());
  });
}

void Cuda::batch_norm_eval(Tensor& y, const Tensor& x, const Tensor& residual, const Tensor& running_mean,
                           const Tensor& running_var, const Tensor& weight, const Tensor& bias,
                           const BatchNormOptions& o) {
  visit_floating(x.dtype(), "batch_norm", [&]<class T>() {
    using A = Accumulate<T>;
    const int64_t channels = x.size(-1);
    Tensor affine = new_coefficients<A>(2, channels, x.device());
    const Affine<A> set{data_or_null<A>(weight), data_or_null<A>(bias), affine.data<A>(), channels, o.eps};
    launch(running_coefficients<A>, grid_for(channels), set, running_mean.data<A>(), running_var.data<A>());
    const auto run = [&]<int P>() { normalise<T, P>(y, x, residual, running_mean, affine, o); };
    visit_width<T>(channels, run, y.data<T>(), x.data<T>(), data_or_null<T>(residual), running_mean.data<A>());
  });
}

void Cuda::batch_norm_gradient(Tensor& dx, Tensor& dresidual, Tensor& dweight, Tensor& dbias, const Tensor& dy,
                               const Tensor& also, const Tensor& x, const BatchNormSaved& saved, const Tensor& weight,
                               const BatchNormOptions& o) {
  visit_floating(x.dtype(), "batch_norm_gradient", [&]<class T>() {
    using A = Accumulate<T>;
    using enum ReluMask;
    const int64_t channels = x.size(-1), rows = x.numel() / channels;
    const bool from_input = o.relu && !saved.y;
    const GradientPointers<T> pointers{
        dy.data<T>(),         data_or_null<T>(also),
        x.data<T>(),          o.relu ? data_or_null<T>(saved.y) : nullptr,
        saved.mean.data<A>(), from_input ? saved.affine.data<A>() : nullptr,
    };
    T* dz = data_or_null<T>(dresidual);
    Tensor coefficients = new_coefficients<A>(3, channels, x.device());
    const double share = o.training ? 1 / static_cast<double>(rows) : 0;
    const auto run = [&]<int kWidest>() {
      constexpr int P = kGradientWidth<kWidest>;
      const auto sum = [&]<ReluMask kMask, bool kTwo>() {
        sum_tiles<GradientSums<T, P, kMask, kTwo>>(
            1, rows, channels,
            {pointers, dz, saved.rstd.data<A>(), data_or_null<A>(weight), data_or_null<A>(dweight),
             data_or_null<A>(dbias), coefficients.data<A>(), channels, share, nullptr});
      };
      if (from_input) {
        sum.template operator()<kInput, false>();
        apply_gradient<T, P, kInput>(dx, pointers, coefficients);
        return;
      }
      also ? sum.template operator()<kResult, true>() : sum.template operator()<kResult, false>();
      // Where dz was written, it is read in place of dy and y.
      GradientPointers<T> rest = pointers;
      if (dz) rest.dy = dz, rest.y = nullptr;
      apply_gradient<T, P, kResult>(dx, rest, coefficients);
    };
    visit_width<T>(channels, run, dx.data<T>(), pointers.dy, pointers.also, pointers.x, pointers.y,
                   static_cast<const T*>(dz), pointers.mean, pointers.affine);
  });
}

}  // namespace fulcrum
