// Batch normalisation, optionally fused with the residual sum and the ReLU that follow it in a ResNet.
#include <fulcrum/core/autograd.h>
#include <fulcrum/core/communicator.h>
#include <fulcrum/core/kernels.h>
#include <fulcrum/core/ops.h>
#include <fulcrum/core/ops_checks.h>
#include <fulcrum/core/recompute.h>

namespace fulcrum {

namespace {

void check_channels(const Tensor& x, const Tensor& t, const char* what) {
  check(!t || (t.shape() == Shape{x.size(-1)} && t.dtype() == master_dtype(x.dtype())), "[batch_norm] expected ", what,
        " ", master_dtype(x.dtype()), " [", x.size(-1), "], got ", t ? t.dtype() : DType::kF32, " ",
        t ? t.shape() : Shape());
}

// The statistics that training updates. Undefined in the second run of recompute(), as the first has updated them.
struct RunningStatistics {
  Tensor mean, var;
};
RunningStatistics moving_statistics(const BatchNormTensors& t) {
  return recomputing() ? RunningStatistics() : RunningStatistics{t.running_mean, t.running_var};
}

Tensor eval_rstd(const Tensor& var, double eps) { return div(ones(var.shape(), options_of(var)), sqrt(add(var, eps))); }

// Sums over all processes, forward and backward. Weight and bias get only this part's share of their gradients, like
// every other parameter.
Tensor batch_norm_of_processes(const Tensor& x, const BatchNormTensors& t, const BatchNormArgs& args,
                               const BatchNormOptions& o) {
  const BatchNormPart part = args.part;
  check(part.rows > 1, "[batch_norm] expected more than one value per channel in training, got ", part.rows,
        " in all processes");
  const Shape channels{x.size(-1)};
  const TensorOptions statistics{master_dtype(x.dtype()), x.device()}, wide{DType::kF64, x.device()};
  Tensor y = empty_like(x), mean = empty(channels, statistics), var = empty(channels, statistics),
         rstd = empty(channels, statistics), sums = empty({2, x.size(-1)}, wide);
  dispatch(x, [&]<class K>() {
    if (part.counts) K::batch_norm_sums(sums, x);
    else K::fill(sums, 0);
    part.communicator->all_reduce(sums);
    auto [running_mean, running_var] = moving_statistics(t);
    K::batch_norm_moments(mean, var, rstd, running_mean, running_var, sums, part.rows, o);
    K::batch_norm_eval(y, x, args.residual, mean, var, t.weight, t.bias, o);
  });
  return record(
      "batch_norm", y, {x, args.residual, t.weight, t.bias},
      [x = Saved(x), y = args.relu ? Saved(y) : Saved(), mean, rstd, weight = Saved(t.weight), o, part, statistics,
       wide](const Tensor& dy, Needs need) -> Grads {
        const int64_t channels = dy.size(-1);
        Tensor dx = empty_like(dy), dresidual, sums = empty({2, channels}, wide);
        if (need[1]) dresidual = empty_like(dy);
        return dispatch(dy, [&]<class K>() -> Grads {
          K::batch_norm_gradient_sums(sums, dresidual, dy, x, y, mean, o);
          const Tensor own = sums.to(statistics.dtype).reshape({2, channels});
          const Tensor dbias = own.slice(0, 1).reshape({channels}).clone();
          const Tensor dweight = mul(own.slice(1, 2).reshape({channels}), rstd);
          part.communicator->all_reduce(sums);
          if (part.counts) K::batch_norm_gradient_apply(dx, dy, x, y, mean, rstd, weight, sums, part.rows, o);
          else K::fill(dx, 0);  // a placeholder is not part of the batch
          return {dx, dresidual, dweight, dbias};
        });
      },
      OpDetail(BatchNormCall{t, args}));
}

}  // namespace

Tensor batch_norm(const Tensor& x, const BatchNormTensors& t, const BatchNormArgs& args) {
  check(x.dim() >= 2 && is_floating(x.dtype()), "[batch_norm] expected floating x [..., C], got ", x.dtype(), " ",
        x.shape());
  const int64_t rows = x.numel() / x.size(-1);
  check(!args.training || rows > 1 || args.part.communicator,
        "[batch_norm] expected more than one value per channel in training, got x ", x.shape());
  check_channels(x, t.weight, "weight");
  check_channels(x, t.bias, "bias");
  check_channels(x, t.running_mean, "running_mean");
  check_channels(x, t.running_var, "running_var");
  check(args.training || (t.running_mean && t.running_var), "[batch_norm] expected running statistics in evaluation");
  check(!args.residual || (args.residual.shape() == x.shape() && args.residual.dtype() == x.dtype()),
        "[batch_norm] expected a residual like x ", x.shape(), ", got ",
        args.residual ? args.residual.shape() : Shape());
  check_one_device("batch_norm", {{"x", x},
                                  {"weight", t.weight},
                                  {"bias", t.bias},
                                  {"running_mean", t.running_mean},
                                  {"running_var", t.running_var},
                                  {"residual", args.residual}});

  const BatchNormOptions o{args.eps, args.momentum, args.relu, args.training};
  if (args.training && args.part.communicator) return batch_norm_of_processes(x, t, args, o);
  const TensorOptions statistics{master_dtype(x.dtype()), x.device()};
  Tensor y = empty_like(x);
  BatchNormSaved saved;
  dispatch(x, [&]<class K>() {
    if (args.training) {
      saved.mean = empty({x.size(-1)}, statistics);
      saved.rstd = empty({x.size(-1)}, statistics);
      saved.affine = empty({2, x.size(-1)}, statistics);
      auto [running_mean, running_var] = moving_statistics(t);
      K::batch_norm_train(y, saved.mean, saved.rstd, saved.affine, running_mean, running_var, x, args.residual,
                          t.weight, t.bias, o);
    } else {
      K::batch_norm_eval(y, x, args.residual, t.running_mean, t.running_var, t.weight, t.bias, o);
    }
  });
  const bool recorded = grad_enabled();
  if (recorded && !args.training) {
    const NoGrad no_grad;
    saved.mean = t.running_mean.clone();
    saved.rstd = eval_rstd(t.running_var.detach(), args.eps);
  }
  const bool y_needed = args.relu && (args.residual || !saved.affine);
  y = record(
      "batch_norm", y, {x, args.residual, t.weight, t.bias},
      [x = Saved(x), y = y_needed ? Saved(y) : Saved(), saved, weight = Saved(t.weight), o, statistics](
          const Tensor& dy, Needs need) -> Grads {
        const Shape channels{dy.size(-1)};
        Tensor dx = empty_like(dy), dresidual;
        Tensor dweight = empty(channels, statistics), dbias = empty(channels, statistics);
        if (need[1]) dresidual = empty_like(dy);
        BatchNormSaved forward = saved;
        forward.y = y;
        dispatch(dy, [&]<class K>() {
          K::batch_norm_gradient(dx, dresidual, dweight, dbias, dy, need.also(), x, forward, weight, o);
        });
        return {dx, dresidual, dweight, dbias};
      },
      OpDetail(BatchNormCall{t, args}));
  // A residual block's result goes to the next block's first convolution and to its shortcut, so it gets two gradient
  // terms. Their sum is written here anyway, as the residual's gradient.
  if (y.requires_grad()) y.node()->takes_two = args.residual && args.residual.requires_grad();
  return y;
}

}  // namespace fulcrum
