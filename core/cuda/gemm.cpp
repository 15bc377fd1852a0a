// Matrix products on CUDA: cuBLASLt, with the bias in its epilogue where it has that.
#include <fulcrum/core/cuda/cublas.h>
#include <fulcrum/core/cuda/scratch.h>
#include <fulcrum/core/cuda_options.h>
#include <fulcrum/core/kernels.h>

namespace fulcrum {

namespace {

/// Every row of c becomes the bias.
void repeat_rows(Tensor& c, const Tensor& bias) {
  StridedCopy rows{.extent = c.shape()};
  rows.x_strides[1] = 1;
  rows.y_strides[0] = c.size(1);
  rows.y_strides[1] = 1;
  Cuda::copy_strided(c, bias, rows);
}

}  // namespace

void Cuda::gemm(Tensor& c, const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b,
                const Tensor& bias) {
  const DType in = a.dtype();
  const bool widens = in == DType::kBf16 && c.dtype() == DType::kF32;
  cuda::GemmProblem problem{.m = c.size(0),
                            .n = c.size(1),
                            .k = a.size(transpose_a ? 0 : 1),
                            .transpose_a = transpose_a,
                            .transpose_b = transpose_b,
                            .in = in,
                            .out = widens ? DType::kF32 : in,
                            .bias = bias.defined(),
                            .tf32 = in == DType::kF32 && tf32()};
  const Tensor left = cuda::prepared(a, in), right = cuda::prepared(b, in);
  const Tensor added = cuda::prepared(bias, problem.out);
  cuda::compute_into(c, problem.out, [&](Tensor& out) {
    const cuda::GemmPlan* plan = &cuda::gemm_plan(problem);
    if (bias && !plan->exists()) {  // f64 has no epilogues
      repeat_rows(out, added);
      problem.bias = false;
      problem.accumulate = true;
      plan = &cuda::gemm_plan(problem);
    }
    check(plan->exists(), "[gemm] cuBLASLt has no algorithm for ", describe(problem), ": ", plan->reason());
    plan->run({out.raw(), left.raw(), right.raw(), problem.bias ? added.raw() : nullptr});
  });
}

}  // namespace fulcrum
