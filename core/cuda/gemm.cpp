// Matrix products on CUDA, by cuBLASLt. Bias, ReLU and the gradient of the bias are computed in its epilogue where it
// has one (f64 has none).
#include <fulcrum/core/cuda/cublas.h>
#include <fulcrum/core/cuda/scratch.h>
#include <fulcrum/core/cuda_options.h>
#include <fulcrum/core/functors.h>
#include <fulcrum/core/kernels.h>

namespace fulcrum {

namespace {

/// Copies the bias into every row of c.
void repeat_rows(Tensor& c, const Tensor& bias) {
  StridedCopy rows{.extent = c.shape()};
  rows.x_strides[1] = 1;
  rows.y_strides[0] = c.size(1);
  rows.y_strides[1] = 1;
  Cuda::copy_strided(c, bias, rows);
}

cuda::GemmProblem problem_of(const Tensor& c, const Tensor& a, bool transpose_a, bool transpose_b) {
  const DType in = a.dtype();
  const bool widens = in == DType::kBf16 && c.dtype() == DType::kF32;
  return {.m = c.size(0),
          .n = c.size(1),
          .k = a.size(transpose_a ? 0 : 1),
          .transpose_a = transpose_a,
          .transpose_b = transpose_b,
          .in = in,
          .out = widens ? DType::kF32 : in,
          .tf32 = in == DType::kF32 && tf32()};
}

}  // namespace

void Cuda::gemm(Tensor& c, const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b, const Tensor& bias,
                bool relu) {
  cuda::GemmProblem problem = problem_of(c, a, transpose_a, transpose_b);
  problem.bias = bias.defined();
  problem.relu = relu;
  const DType in = problem.in;
  const Tensor left = cuda::prepared(a, in), right = cuda::prepared(b, in);
  const Tensor added = cuda::prepared(bias, problem.out);
  cuda::compute_into(c, problem.out, [&](Tensor& out) {
    const cuda::GemmPlan* plan = &cuda::gemm_plan(problem);
    if (!plan->exists() && (bias || relu)) {
      if (bias) repeat_rows(out, added);
      problem.accumulate = problem.bias;
      problem.bias = problem.relu = false;
      plan = &cuda::gemm_plan(problem);
    }
    check(plan->exists(), "[gemm] cuBLASLt has no algorithm for ", describe(problem), ": ", plan->reason());
    plan->run({out.raw(), left.raw(), right.raw(), problem.bias ? added.raw() : nullptr});
    if (relu && !problem.relu) unary<Relu>(out, out);
  });
}

void Cuda::linear_weight_gradient(Tensor& dw, Tensor& dbias, const Tensor& dy, const Tensor& x) {
  cuda::GemmProblem problem = problem_of(dw, dy, true, false);
  problem.row_sums = true;
  const cuda::GemmPlan& plan = cuda::gemm_plan(problem);
  if (!plan.exists()) {
    gemm(dw, dy, true, x, false, {}, false);
    reduce_sum(dbias, dy);
    return;
  }
  const Tensor left = cuda::prepared(dy, problem.in), right = cuda::prepared(x, problem.in);
  cuda::compute_into(dw, problem.out, [&](Tensor& product) {
    cuda::compute_into(dbias, problem.out, [&](Tensor& sums) {
      plan.run({.c = product.raw(), .a = left.raw(), .b = right.raw(), .row_sums = sums.raw()});
    });
  });
}

}  // namespace fulcrum
