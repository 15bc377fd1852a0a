// Convolution on CUDA: adapts the arguments to what cuDNN's plans require.
//
// cuDNN requires memory on 16-byte boundaries, where a slice need not start, and writes the weight gradient of a bf16
// convolution in bf16. Where no plan adds the bias, a pass of its own does. Where there is no plan for the number of
// channels, they are padded with zeros, in scratch memory, to what tensor cores take. The first layer of ResNets, for
// which cuDNN's plans are slow, is computed on blocks of 2×2 pixels.
#include <algorithm>
#include <optional>

#include <fulcrum/core/cuda/cudnn.h>
#include <fulcrum/core/cuda/scratch.h>
#include <fulcrum/core/cuda/space_to_depth.h>
#include <fulcrum/core/cuda_options.h>
#include <fulcrum/core/functors.h>
#include <fulcrum/core/kernels.h>

namespace fulcrum {

namespace {

using cuda::compute_into;
using cuda::ConvPass;
using cuda::ConvPlan;
using cuda::ConvProblem;
using cuda::prepared;

struct Arguments {
  Tensor x, w, y;
  Tensor bias = {};  // only where the plan adds it
};

ConvProblem problem_of(ConvPass pass, DType dtype, bool bias, const Conv2dGeometry& g) {
  return {pass, dtype, bias, dtype == DType::kF32 && tf32(), g};
}

// ---- channels that cuDNN has a plan for -----------------------------------------------------------

/// The geometry with the channels of each group rounded up to a multiple of 16 bytes.
Conv2dGeometry padded(Conv2dGeometry g, DType dtype) {
  const int64_t step = 16 / static_cast<int64_t>(size_of(dtype));
  const auto up = [&](int64_t channels) { return (channels / g.groups + step - 1) / step * step * g.groups; };
  g.c = up(g.c);
  g.out_c = up(g.out_c);
  return g;
}

// Shapes of the arguments with the channels split into groups, so that padding only enlarges some sizes.
Shape sizes_of_x(const Conv2dGeometry& g) { return {g.n * g.h * g.w, g.groups, g.c / g.groups}; }
Shape sizes_of_y(const Conv2dGeometry& g) { return {g.n * g.out_h * g.out_w, g.groups, g.out_c / g.groups}; }
Shape sizes_of_w(const Conv2dGeometry& g) {
  return {g.groups, g.out_c / g.groups, g.kernel_h * g.kernel_w, g.c / g.groups};
}

/// Copies from x to y the elements whose indices exist in both shapes.
void copy_corner(Tensor& y, const Shape& y_sizes, const Tensor& x, const Shape& x_sizes) {
  StridedCopy corner{.extent = x_sizes};
  int64_t x_stride = 1, y_stride = 1;
  for (int i = x_sizes.dim() - 1; i >= 0; i--) {
    corner.extent.set(i, std::min(x_sizes[i], y_sizes[i]));
    corner.x_strides[i] = x_stride;
    corner.y_strides[i] = y_stride;
    x_stride *= x_sizes[i];
    y_stride *= y_sizes[i];
  }
  Cuda::copy_strided(y, x, corner);
}

Tensor zeros_of(const Shape& sizes, const Tensor& like) {
  Tensor t = empty(sizes, options_of(like));
  Cuda::fill(t, 0);
  return t;
}

Tensor with_padding(const Tensor& x, const Shape& sizes, const Shape& larger) {
  Tensor y = zeros_of(larger, x);
  copy_corner(y, larger, x, sizes);
  return y;
}

// ---- running ----------------------------------------------------------------------------------------

void run(const ConvPlan& plan, const Arguments& a) {
  plan.run({a.x.raw(), a.w.raw(), a.y.raw(), a.bias ? a.bias.raw() : nullptr});
}

void run_padded(const ConvPlan& plan, const ConvProblem& wide, Arguments& a, const Conv2dGeometry& g) {
  const Conv2dGeometry& p = wide.geometry;
  const auto argument = [&](const Tensor& t, Shape (*sizes)(const Conv2dGeometry&)) {
    return sizes(g) == sizes(p) ? t : with_padding(t, sizes(g), sizes(p));
  };
  const auto result = [&](const Tensor& t, Shape (*sizes)(const Conv2dGeometry&)) {
    return sizes(g) == sizes(p) ? t : empty(sizes(p), options_of(t));
  };
  const auto take = [&](Tensor& t, const Tensor& wide_t, Shape (*sizes)(const Conv2dGeometry&)) {
    if (wide_t.raw() != t.raw()) copy_corner(t, sizes(g), wide_t, sizes(p));
  };
  const ConvPass pass = wide.pass;
  Arguments b;
  b.x = pass == ConvPass::kDataGradient ? result(a.x, sizes_of_x) : argument(a.x, sizes_of_x);
  b.w = pass == ConvPass::kWeightGradient ? result(a.w, sizes_of_w) : argument(a.w, sizes_of_w);
  b.y = pass == ConvPass::kForward ? result(a.y, sizes_of_y) : argument(a.y, sizes_of_y);
  run(plan, b);
  switch (pass) {
    case ConvPass::kForward: return take(a.y, b.y, sizes_of_y);
    case ConvPass::kDataGradient: return take(a.x, b.x, sizes_of_x);
    case ConvPass::kWeightGradient: return take(a.w, b.w, sizes_of_w);
  }
}

// ---- the first layer on blocks of 2×2 pixels -----------------------------------------------------------

/// The stride-1 convolution over blocks of 2×2 pixels that equals a k×k convolution of stride 2 over images, or nullopt
/// where there is none. Its input includes the padding.
std::optional<Conv2dGeometry> on_blocks(const Conv2dGeometry& g, DType dtype) {
  const int64_t k = g.kernel_h, p = g.padding_h;
  const bool square = g.kernel_w == k && g.padding_w == p && g.stride_h == 2 && g.stride_w == 2 && g.dilation_h == 1 &&
                      g.dilation_w == 1;
  if (dtype != DType::kBf16 || !square || g.groups != 1 || g.c > 4 || k < 5 || k != 2 * p + 1 || p % 2 == 0 ||
      g.h % 2 != 0 || g.w % 2 != 0)
    return std::nullopt;
  Conv2dGeometry b = g;
  b.c = (4 * g.c + 7) / 8 * 8;
  b.kernel_h = b.kernel_w = (k + 1) / 2;
  b.h = g.h / 2 + b.kernel_h - 1;
  b.w = g.w / 2 + b.kernel_w - 1;
  b.stride_h = b.stride_w = 1;
  b.padding_h = b.padding_w = 0;
  return b;
}

void run_on_blocks(const ConvPlan& plan, ConvPass pass, Arguments& a, const Conv2dGeometry& g,
                   const Conv2dGeometry& b) {
  constexpr int64_t kOfWeights = 1;  // offset: blocks begin at even rows of the image, the kernel at odd ones
  Arguments wide = a;
  wide.x = empty({b.n, b.h, b.w, b.c}, options_of(a.x));
  wide.w = empty({b.out_c, b.kernel_h, b.kernel_w, b.c}, options_of(a.w));
  cuda::space_to_depth(wide.x, a.x, g.padding_h + 1);
  if (pass == ConvPass::kForward) cuda::space_to_depth(wide.w, a.w, kOfWeights);
  run(plan, wide);
  if (pass == ConvPass::kWeightGradient) cuda::depth_to_space(a.w, wide.w, kOfWeights);
}

/// Runs one pass. x, w and y must have one dtype; all memory must lie on 16-byte boundaries.
void convolve(ConvPass pass, Arguments a, const Conv2dGeometry& g) {
  const DType dtype = a.x.dtype();
  ConvProblem problem = problem_of(pass, dtype, a.bias.defined(), g);
  if (const auto blocks = pass == ConvPass::kDataGradient ? std::nullopt : on_blocks(g, dtype)) {
    ConvProblem folded = problem;
    folded.geometry = *blocks;
    if (const ConvPlan& plan = cuda::conv_plan(folded); plan.exists()) return run_on_blocks(plan, pass, a, g, *blocks);
  }
  const ConvPlan& plan = cuda::conv_plan(problem);
  if (plan.exists()) return run(plan, a);
  const std::string what = describe(problem);
  problem.geometry = padded(g, dtype);
  const ConvPlan& wide = cuda::conv_plan(problem);
  check(wide.exists(), "[", name_of(pass), "] cuDNN has no plan for ", what, " (", plan.reason(),
        "), nor with padded channels (", wide.reason(), ")");
  run_padded(wide, problem, a, g);
}

}  // namespace

void Cuda::conv2d(Tensor& y, const Tensor& x, const Tensor& w, const Tensor& bias, const Conv2dGeometry& g) {
  const DType dtype = x.dtype();
  const Conv2dGeometry planned = on_blocks(g, dtype).value_or(g);
  const bool fused = bias && cuda::conv_plan(problem_of(ConvPass::kForward, dtype, true, planned)).exists();
  compute_into(y, dtype, [&](Tensor& out) {
    Arguments a{prepared(x, dtype), prepared(w, dtype), out};
    if (fused) a.bias = prepared(bias, master_dtype(dtype));
    convolve(ConvPass::kForward, a, g);
    if (bias && !fused) binary<Add>(out, out, prepared(bias, dtype));
  });
}

void Cuda::conv2d_data_gradient(Tensor& dx, const Tensor& dy, const Tensor& w, const Conv2dGeometry& g) {
  const DType dtype = dy.dtype();
  compute_into(dx, dtype, [&](Tensor& out) {
    convolve(ConvPass::kDataGradient, {out, prepared(w, dtype), prepared(dy, dtype)}, g);
  });
}

void Cuda::conv2d_weight_gradient(Tensor& dw, const Tensor& dy, const Tensor& x, const Conv2dGeometry& g) {
  const DType dtype = x.dtype();
  compute_into(dw, dtype, [&](Tensor& out) {
    convolve(ConvPass::kWeightGradient, {prepared(x, dtype), out, prepared(dy, dtype)}, g);
  });
}

}  // namespace fulcrum
