// cuDNN and cuBLASLt of the emulated device: the CPU's kernels behind cudnn.h and cublas.h. They refuse all that a
// version of the libraries may refuse, so that every fallback runs: channels that do not fill 16 bytes, a bias with
// groups, f64 products with an epilogue, memory off a 16-byte boundary.
#include <cstring>
#include <list>
#include <vector>

#include <fulcrum/core/cuda/conv3x3.h>
#include <fulcrum/core/cuda/cublas.h>
#include <fulcrum/core/cuda/cudnn.h>
#include <fulcrum/core/kernels.h>

#include "recorder.h"

namespace fulcrum::cuda {

namespace {

void check_aligned(const void* memory) {
  check(reinterpret_cast<uintptr_t>(memory) % 16 == 0, "[simt] expected memory on a 16-byte boundary, got ", memory);
}

/// Returns a copy of device memory on the host; undefined if `memory` is null.
Tensor on_host(const void* memory, const Shape& shape, DType dtype) {
  check_aligned(memory);
  if (!memory) return {};
  Tensor t = empty(shape, {dtype, {}});
  std::memcpy(t.raw(), memory, t.bytes());
  return t;
}

void to_device(const void* memory, const Tensor& result) {
  check_aligned(memory);
  std::memcpy(const_cast<void*>(memory), result.raw(), result.bytes());
}

void convolve(const ConvProblem& problem, const ConvPointers& p) {
  const Conv2dGeometry& g = problem.geometry;
  Tensor x = on_host(p.x, {g.n, g.h, g.w, g.c}, problem.dtype);
  Tensor w = on_host(p.w, {g.out_c, g.kernel_h, g.kernel_w, g.c / g.groups}, problem.dtype);
  Tensor y = on_host(p.y, {g.n, g.out_h, g.out_w, g.out_c}, problem.dtype);
  switch (problem.pass) {
    case ConvPass::kForward: {
      const Tensor bias = problem.bias ? on_host(p.bias, {g.out_c}, master_dtype(problem.dtype)) : Tensor();
      Cpu::conv2d(y, x, w, bias, g);
      return to_device(p.y, y);
    }
    case ConvPass::kDataGradient: Cpu::conv2d_data_gradient(x, y, w, g); return to_device(p.x, x);
    case ConvPass::kWeightGradient: Cpu::conv2d_weight_gradient(w, y, x, g); return to_device(p.w, w);
  }
}

bool fills_16_bytes(int64_t channels, const ConvProblem& problem) {
  return channels / problem.geometry.groups * static_cast<int64_t>(size_of(problem.dtype)) % 16 == 0;
}

}  // namespace

struct ConvPlan::Built {
  ConvProblem problem;
};

class ConvPlanner {
 public:
  static ConvPlan plan(const ConvProblem& problem) {
    const Conv2dGeometry& g = problem.geometry;
    const bool has_plan =
        fills_16_bytes(g.c, problem) && fills_16_bytes(g.out_c, problem) && (!problem.bias || g.groups == 1);
    ConvPlan result;
    if (has_plan) result.built_ = std::make_shared<ConvPlan::Built>(ConvPlan::Built{problem});
    else result.reason_ = "the emulated device has none";
    return result;
  }
};

const ConvPlan& conv_plan(const ConvProblem& problem) {
  static std::list<std::pair<ConvProblem, ConvPlan>> plans;  // a list: references stay valid
  for (const auto& [known, plan] : plans)
    if (known == problem) return plan;
  return plans.emplace_back(problem, ConvPlanner::plan(problem)).second;
}

// Uses our own kernels wherever they fit.
void ConvPlan::run(const ConvPointers& pointers) const {
  if (conv3x3_fits(built_->problem)) return conv3x3(built_->problem, pointers);
  simt::enqueue([problem = built_->problem, pointers] { convolve(problem, pointers); });
}

// ---- matrix products ------------------------------------------------------------------------------------

struct GemmPlan::Chosen {
  GemmProblem problem;
};

GemmPlan make_gemm_plan(const GemmProblem& problem) {
  GemmPlan plan;
  if (problem.in == DType::kF64 && (problem.bias || problem.relu || problem.row_sums))
    plan.reason_ = "the emulated device has no epilogue for f64";
  else plan.chosen_ = std::make_shared<GemmPlan::Chosen>(GemmPlan::Chosen{problem});
  return plan;
}

const GemmPlan& gemm_plan(const GemmProblem& problem) {
  static std::list<std::pair<GemmProblem, GemmPlan>> plans;
  for (const auto& [known, plan] : plans)
    if (known == problem) return plan;
  return plans.emplace_back(problem, make_gemm_plan(problem)).second;
}

void GemmPlan::run(const GemmPointers& pointers) const {
  simt::enqueue([p = chosen_->problem, pointers] {
    const Tensor a = on_host(pointers.a, p.transpose_a ? Shape{p.k, p.m} : Shape{p.m, p.k}, p.in);
    const Tensor b = on_host(pointers.b, p.transpose_b ? Shape{p.n, p.k} : Shape{p.k, p.n}, p.in);
    const Tensor bias = p.bias ? on_host(pointers.bias, {p.n}, p.out) : Tensor();
    Tensor product = empty({p.m, p.n}, {p.out, {}});
    Cpu::gemm(product, a, p.transpose_a, b, p.transpose_b, bias, p.relu);
    if (p.row_sums) {
      Tensor sums = empty({p.transpose_a ? 1 : p.m, p.transpose_a ? p.m : 1}, {p.out, {}});
      Cpu::reduce_sum(sums, a);
      to_device(pointers.row_sums, sums);
    }
    if (p.accumulate) Cpu::add_into(product, on_host(pointers.c, {p.m, p.n}, p.out));
    to_device(pointers.c, product);
  });
}

std::string describe(const GemmProblem&) { return "a product"; }

}  // namespace fulcrum::cuda
