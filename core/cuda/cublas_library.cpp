// The functions of cuBLASLt that cublas.cpp calls: each looks up the library's function at its first call, and forwards
// all calls to it.
#include <cublasLt.h>

#include <fulcrum/core/cuda/library.h>

namespace fulcrum::cuda {

namespace {

void* function(const char* name) {
  static void* library = open_library("cuBLAS", "libcublasLt.so", CUBLAS_VER_MAJOR, FULCRUM_CUBLAS_FOLDER);
  return find_function(library, name);
}

}  // namespace

}  // namespace fulcrum::cuda

// cublasLt.h declares the same functions, so a wrong signature here does not compile. Hidden, lest another library of
// the process takes these for cuBLASLt's.
#define FORWARD(result, name, parameters, arguments)                                            \
  extern "C" [[gnu::visibility("hidden")]] result name parameters {                             \
    static const auto real = reinterpret_cast<decltype(&name)>(fulcrum::cuda::function(#name)); \
    return real arguments;                                                                      \
  }

FORWARD(cublasStatus_t, cublasLtCreate, (cublasLtHandle_t * handle), (handle))
FORWARD(const char*, cublasLtGetStatusString, (cublasStatus_t status), (status))
FORWARD(cublasStatus_t, cublasLtMatmulDescInit_internal,
        (cublasLtMatmulDesc_t description, size_t size, cublasComputeType_t compute, cudaDataType_t scale),
        (description, size, compute, scale))
FORWARD(cublasStatus_t, cublasLtMatmulDescSetAttribute,
        (cublasLtMatmulDesc_t description, cublasLtMatmulDescAttributes_t name, const void* value, size_t size),
        (description, name, value, size))
FORWARD(cublasStatus_t, cublasLtMatrixLayoutInit_internal,
        (cublasLtMatrixLayout_t layout, size_t size, cudaDataType type, uint64_t rows, uint64_t columns, int64_t pitch),
        (layout, size, type, rows, columns, pitch))
FORWARD(cublasStatus_t, cublasLtMatmulPreferenceInit_internal, (cublasLtMatmulPreference_t preference, size_t size),
        (preference, size))
FORWARD(cublasStatus_t, cublasLtMatmulPreferenceSetAttribute,
        (cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t name, const void* value,
         size_t size),
        (preference, name, value, size))
FORWARD(cublasStatus_t, cublasLtMatmulAlgoGetHeuristic,
        (cublasLtHandle_t handle, cublasLtMatmulDesc_t operation, cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
         cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d, cublasLtMatmulPreference_t preference, int wanted,
         cublasLtMatmulHeuristicResult_t results[], int* found),
        (handle, operation, a, b, c, d, preference, wanted, results, found))
FORWARD(cublasStatus_t, cublasLtMatmul,
        (cublasLtHandle_t handle, cublasLtMatmulDesc_t operation, const void* alpha, const void* a,
         cublasLtMatrixLayout_t a_layout, const void* b, cublasLtMatrixLayout_t b_layout, const void* beta,
         const void* c, cublasLtMatrixLayout_t c_layout, void* d, cublasLtMatrixLayout_t d_layout,
         const cublasLtMatmulAlgo_t* algorithm, void* workspace, size_t workspace_size, cudaStream_t stream),
        (handle, operation, alpha, a, a_layout, b, b_layout, beta, c, c_layout, d, d_layout, algorithm, workspace,
         workspace_size, stream))
