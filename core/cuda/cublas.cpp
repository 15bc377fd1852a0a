#include <fulcrum/core/cuda/cublas.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <mutex>

#include <cublasLt.h>

#include <fulcrum/core/cuda/check.h>
#include <fulcrum/core/cuda/runtime.h>
#include <fulcrum/core/tensor.h>

namespace fulcrum::cuda {

namespace {

constexpr size_t kMostWorkspace = size_t{32} << 20;  // enough for all of Hopper's algorithms
constexpr uint32_t kAlignment = 16;

void check_status(cublasStatus_t status, const char* expression, const GemmProblem& problem) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  const std::string text = concat_text("[gemm] cuBLASLt: ", cublasLtGetStatusString(status), " from ", expression,
                                       " for ", describe(problem));
  if (status == CUBLAS_STATUS_ALLOC_FAILED) fail_without_memory(text);
  fail(text);
}

#define CHECK_CUBLAS(expression, problem) check_status((expression), #expression, problem)

/// This thread's handle for the current device.
cublasLtHandle_t handle(const GemmProblem& problem) {
  // Never destroyed: at the end of a thread the driver may be gone already.
  thread_local auto* handles = new std::map<int, cublasLtHandle_t>;
  use_device(current_device());
  cublasLtHandle_t& h = (*handles)[current_device()];
  if (!h) CHECK_CUBLAS(cublasLtCreate(&h), problem);
  return h;
}

cudaDataType_t type_of(DType dtype) {
  switch (dtype) {
    case DType::kF32: return CUDA_R_32F;
    case DType::kBf16: return CUDA_R_16BF;
    case DType::kF64: return CUDA_R_64F;
    default: fail("[gemm] expected f32, bf16 or f64, got ", dtype);
  }
}

/// The product as cuBLASLt sees it. A row-major matrix is the transpose of a column-major one in the
/// same memory, so it computes cᵀ = op(b)ᵀ op(a)ᵀ: b comes first, and the bias goes along cᵀ's rows.
struct Descriptors {
  cublasLtMatmulDescOpaque_t operation;
  cublasLtMatrixLayoutOpaque_t first, second, result;

  Descriptors(const GemmProblem& p, const void* vector) {
    const bool f64 = p.in == DType::kF64;
    const cublasComputeType_t compute = f64      ? CUBLAS_COMPUTE_64F
                                        : p.tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32
                                                 : CUBLAS_COMPUTE_32F;
    CHECK_CUBLAS(cublasLtMatmulDescInit(&operation, compute, f64 ? CUDA_R_64F : CUDA_R_32F), p);
    set(CUBLASLT_MATMUL_DESC_TRANSA, p.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N, p);
    set(CUBLASLT_MATMUL_DESC_TRANSB, p.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N, p);
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue(p), p);
    if (p.bias || p.row_sums) {
      set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, type_of(p.out), p);
      // Some versions find no plan while this pointer is null, and there is no vector yet when a plan is made.
      const void* const any = reinterpret_cast<const void*>(uintptr_t{256});
      set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, vector ? vector : any, p);
    }
    lay_out(first, p.in, p.transpose_b ? p.n : p.k, p.transpose_b ? p.k : p.n, p);
    lay_out(second, p.in, p.transpose_a ? p.k : p.m, p.transpose_a ? p.m : p.k, p);
    lay_out(result, p.out, p.m, p.n, p);
  }

 private:
  // BGRADB, since our a is cuBLASLt's second operand, B.
  static cublasLtEpilogue_t epilogue(const GemmProblem& p) {
    if (p.row_sums) return CUBLASLT_EPILOGUE_BGRADB;
    if (p.relu) return p.bias ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_RELU;
    return p.bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
  }

  template <class T>
  void set(cublasLtMatmulDescAttributes_t name, const T& value, const GemmProblem& p) {
    CHECK_CUBLAS(cublasLtMatmulDescSetAttribute(&operation, name, &value, sizeof value), p);
  }

  // Row-major [rows, columns].
  static void lay_out(cublasLtMatrixLayoutOpaque_t& layout, DType dtype, int64_t rows, int64_t columns,
                      const GemmProblem& p) {
    CHECK_CUBLAS(cublasLtMatrixLayoutInit(&layout, type_of(dtype), static_cast<uint64_t>(columns),
                                          static_cast<uint64_t>(rows), columns),
                 p);
  }
};

struct Preference {
  cublasLtMatmulPreferenceOpaque_t preference;

  explicit Preference(const GemmProblem& p) {
    CHECK_CUBLAS(cublasLtMatmulPreferenceInit(&preference), p);
    set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t{kMostWorkspace}, p);
    set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, uint32_t{CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE}, p);
    for (const auto name : {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                            CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
      set(name, kAlignment, p);
  }

 private:
  template <class T>
  void set(cublasLtMatmulPreferenceAttributes_t name, const T& value, const GemmProblem& p) {
    CHECK_CUBLAS(cublasLtMatmulPreferenceSetAttribute(&preference, name, &value, sizeof value), p);
  }
};

}  // namespace

struct GemmPlan::Chosen {
  GemmProblem problem;
  cublasLtMatmulAlgo_t algorithm;
  size_t workspace;  // bytes
};

void GemmPlan::run(const GemmPointers& pointers) const {
  const GemmProblem& p = chosen_->problem;
  Descriptors d(p, p.row_sums ? pointers.row_sums : pointers.bias);
  const int64_t bytes = std::max<int64_t>(1, static_cast<int64_t>(chosen_->workspace));
  // Freed on return, before the kernels run: safe, since the pool's next user enqueues on the same stream.
  Tensor workspace = empty({bytes}, {DType::kU8, {Device::Kind::kCuda, current_device()}});
  const float one = 1, beta = p.accumulate ? 1 : 0;
  const double one64 = 1, beta64 = beta;
  const bool f64 = p.in == DType::kF64;
  CHECK_CUBLAS(
      cublasLtMatmul(handle(p), &d.operation, f64 ? static_cast<const void*>(&one64) : &one, pointers.b, &d.first,
                     pointers.a, &d.second, f64 ? static_cast<const void*>(&beta64) : &beta, pointers.c, &d.result,
                     pointers.c, &d.result, &chosen_->algorithm, workspace.raw(), chosen_->workspace, compute_stream()),
      p);
}

GemmPlan make_gemm_plan(const GemmProblem& problem) {
  Descriptors d(problem, nullptr);
  Preference preference(problem);
  cublasLtMatmulHeuristicResult_t found;
  int count = 0;
  const cublasStatus_t status =
      cublasLtMatmulAlgoGetHeuristic(handle(problem), &d.operation, &d.first, &d.second, &d.result, &d.result,
                                     &preference.preference, 1, &found, &count);
  GemmPlan plan;
  const bool unusual = problem.bias || problem.relu || problem.row_sums;  // refused as invalid for some dtypes
  const bool refused = status == CUBLAS_STATUS_NOT_SUPPORTED || (unusual && status == CUBLAS_STATUS_INVALID_VALUE);
  if (refused || (status == CUBLAS_STATUS_SUCCESS && (count == 0 || found.state != CUBLAS_STATUS_SUCCESS))) {
    plan.reason_ = "the heuristics know no algorithm";
    return plan;
  }
  CHECK_CUBLAS(status, problem);
  plan.chosen_ = std::make_shared<GemmPlan::Chosen>(GemmPlan::Chosen{problem, found.algo, found.workspaceSize});
  return plan;
}

const GemmPlan& gemm_plan(const GemmProblem& problem) {
  using Key = std::pair<int, GemmProblem>;
  static auto* plans = new std::map<Key, GemmPlan>;
  static auto* mutex = new std::mutex;
  const std::lock_guard lock(*mutex);
  const Key key{current_device(), problem};
  if (const auto it = plans->find(key); it != plans->end()) return it->second;
  return plans->emplace(key, make_gemm_plan(problem)).first->second;
}

std::string describe(const GemmProblem& p) {
  return concat_text(p.in, " [", p.m, ", ", p.k, "]", p.transpose_a ? " (transposed)" : "", " times [", p.k, ", ", p.n,
                     "]", p.transpose_b ? " (transposed)" : "", " into ", p.out, p.tf32 ? " as tf32" : "",
                     p.bias ? ", bias" : "", p.relu ? ", ReLU" : "", p.row_sums ? ", sums of rows" : "",
                     p.accumulate ? ", added" : "");
}

}  // namespace fulcrum::cuda
