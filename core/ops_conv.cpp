// Convolution and pooling over NHWC images.
#include <fulcrum/core/autograd.h>
#include <fulcrum/core/kernels.h>
#include <fulcrum/core/ops.h>
#include <fulcrum/core/ops_checks.h>
#include <fulcrum/core/profile.h>

namespace fulcrum {

namespace {

int64_t window_count(const char* op, int64_t size, int64_t kernel, int64_t stride, int64_t padding, int64_t dilation,
                     const Shape& x) {
  check(kernel > 0 && stride > 0 && dilation > 0 && padding >= 0, "[", op,
        "] expected kernel, stride and dilation of at least 1 and padding of at least 0, got ", kernel, ", ", stride,
        ", ", dilation, " and ", padding);
  const int64_t span = dilation * (kernel - 1) + 1;
  check(size + 2 * padding >= span, "[", op, "] expected the padded image to hold a window of ", span, ", got x ", x,
        " with padding ", padding);
  return (size + 2 * padding - span) / stride + 1;
}

Conv2dGeometry geometry(const Tensor& x, const Tensor& w, const Tensor& bias, const ConvOptions& o) {
  check(x.dim() == 4 && w.dim() == 4, "[conv2d] expected x [N, H, W, C] and weight [out, kh, kw, in], got ", x.shape(),
        " and ", w.shape());
  check(o.groups > 0 && x.size(3) % o.groups == 0 && w.size(0) % o.groups == 0,
        "[conv2d] expected channels divisible by ", o.groups, " groups, got x ", x.shape(), " and weight ", w.shape());
  check(w.size(3) * o.groups == x.size(3), "[conv2d] expected ", w.size(3) * o.groups, " input channels, got x ",
        x.shape());
  check(x.dtype() == w.dtype(), "[conv2d] expected one dtype, got x ", x.dtype(), " and weight ", w.dtype());
  check(!bias || bias.shape() == Shape{w.size(0)}, "[conv2d] expected bias [", w.size(0), "], got ",
        bias ? bias.shape() : Shape());
  check_one_device("conv2d", {{"x", x}, {"weight", w}, {"bias", bias}});
  Conv2dGeometry g;
  g.n = x.size(0), g.h = x.size(1), g.w = x.size(2), g.c = x.size(3);
  g.out_c = w.size(0), g.kernel_h = w.size(1), g.kernel_w = w.size(2);
  g.stride_h = o.stride.h, g.stride_w = o.stride.w;
  g.padding_h = o.padding.h, g.padding_w = o.padding.w;
  g.dilation_h = o.dilation.h, g.dilation_w = o.dilation.w;
  g.groups = o.groups;
  g.out_h = window_count("conv2d", g.h, g.kernel_h, g.stride_h, g.padding_h, g.dilation_h, x.shape());
  g.out_w = window_count("conv2d", g.w, g.kernel_w, g.stride_w, g.padding_w, g.dilation_w, x.shape());
  return g;
}

Pool2dGeometry geometry(const char* op, const Tensor& x, const PoolOptions& o) {
  check(x.dim() == 4 && is_floating(x.dtype()), "[", op, "] expected floating x [N, H, W, C], got ", x.dtype(), " ",
        x.shape());
  check(o.padding.h * 2 <= o.kernel.h && o.padding.w * 2 <= o.kernel.w, "[", op,
        "] expected padding of at most half the kernel, got ", o.padding.h, "x", o.padding.w);
  Pool2dGeometry g;
  g.n = x.size(0), g.h = x.size(1), g.w = x.size(2), g.c = x.size(3);
  g.kernel_h = o.kernel.h, g.kernel_w = o.kernel.w;
  g.stride_h = o.stride.h, g.stride_w = o.stride.w;
  g.padding_h = o.padding.h, g.padding_w = o.padding.w;
  g.out_h = window_count(op, g.h, g.kernel_h, g.stride_h, g.padding_h, 1, x.shape());
  g.out_w = window_count(op, g.w, g.kernel_w, g.stride_w, g.padding_w, 1, x.shape());
  g.count_include_pad = o.count_include_pad;
  return g;
}

Work work_of(const Conv2dGeometry& g) {
  const int64_t depth = g.c / g.groups;
  return {.flop = 2.0 * static_cast<double>(g.n * g.out_h * g.out_w * g.out_c) *
                  static_cast<double>(g.kernel_h * g.kernel_w * depth)};
}

}  // namespace

Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias, const ConvOptions& options) {
  const Conv2dGeometry g = geometry(x, weight, bias, options);
  Tensor y = empty({g.n, g.out_h, g.out_w, g.out_c}, options_of(x));
  dispatch(x, [&]<class K>() { K::conv2d(y, x, weight, bias, g); });
  profile_work(work_of(g));
  // On the CPU, the dtype of the master. On a GPU, the dtype of the batch, as cuDNN computes no other; adding it to the
  // master's gradient converts it.
  const DType dw_dtype = weight.node() && x.device().is_cpu() ? weight.node()->dtype : weight.dtype();
  return record(
      "conv2d", y, {x, weight, bias},
      [x = Saved(x), w = Saved(weight), g, dw_dtype, dbias_dtype = bias ? bias.dtype() : x.dtype()](
          const Tensor& dy, Needs need) -> Grads {
        Tensor dx, dw, dbias;
        for (const bool product : {need[0], need[1]})
          if (product) profile_work(work_of(g));
        dispatch(dy, [&]<class K>() {
          if (need[0]) K::conv2d_data_gradient(dx = empty(x->shape(), options_of(dy)), dy, w, g);
          if (need[1]) {
            dw = empty(w->shape(), {dw_dtype, dy.device()});
            K::conv2d_weight_gradient(dw, dy, x, g);
          }
          if (need[2]) {
            dbias = empty({1, 1, 1, g.out_c}, {dbias_dtype, dy.device()});
            K::reduce_sum(dbias, dy);
            dbias = dbias.reshape({g.out_c});
          }
        });
        return {dx, dw, dbias};
      },
      OpDetail(g));
}

Tensor max_pool2d(const Tensor& x, const PoolOptions& options) {
  const Pool2dGeometry g = geometry("max_pool2d", x, options);
  Tensor y = empty({g.n, g.out_h, g.out_w, g.c}, options_of(x));
  Tensor winners = empty(y.shape(), {DType::kI32, x.device()});
  dispatch(x, [&]<class K>() { K::max_pool2d(y, winners, x, g); });
  return record(
      "max_pool2d", y, {x},
      [winners, g](const Tensor& dy, Needs) -> Grads {
        Tensor dx = empty({g.n, g.h, g.w, g.c}, options_of(dy));
        dispatch(dy, [&]<class K>() { K::max_pool2d_gradient(dx, dy, winners, g); });
        return {dx};
      },
      OpDetail(g));
}

Tensor avg_pool2d(const Tensor& x, const PoolOptions& options) {
  const Pool2dGeometry g = geometry("avg_pool2d", x, options);
  Tensor y = empty({g.n, g.out_h, g.out_w, g.c}, options_of(x));
  dispatch(x, [&]<class K>() { K::avg_pool2d(y, x, g); });
  return record(
      "avg_pool2d", y, {x},
      [g](const Tensor& dy, Needs) -> Grads {
        Tensor dx = empty({g.n, g.h, g.w, g.c}, options_of(dy));
        dispatch(dy, [&]<class K>() { K::avg_pool2d_gradient(dx, dy, g); });
        return {dx};
      },
      OpDetail(g));
}

Tensor global_avg_pool2d(const Tensor& x) {
  check(x.dim() == 4, "[global_avg_pool2d] expected x [N, H, W, C], got ", x.shape());
  const Size2 whole(x.size(1), x.size(2));
  return reshape(avg_pool2d(x, {.kernel = whole, .stride = whole}), {x.size(0), x.size(3)});
}

}  // namespace fulcrum
