// Matrix products through cuBLASLt. This header includes none of cuBLAS's.
//
//   const GemmProblem problem{.m = m, .n = n, .k = k, .in = DType::kBf16, .out = DType::kF32};
//   const GemmPlan& plan = gemm_plan(problem);           // queries the heuristics once
//   if (plan.exists()) plan.run({.c = c.raw(), .a = a.raw(), .b = b.raw()});
//
// Row-major, c [m, n] = op(a) op(b): op(a) is m×k, op(b) k×n. Sums are in f32, in f64 for f64, and
// reproducible: partial sums are never rounded to the dtype of c.
#pragma once

#include <memory>
#include <string>

#include <fulcrum/core/types.h>

namespace fulcrum::cuda {

struct GemmProblem {
  int64_t m, n, k;
  bool transpose_a = false, transpose_b = false;
  DType in, out;            // f32 → f32, bf16 → bf16 or f32, f64 → f64
  bool bias = false;        // adds a bias [n] in dtype `out` to every row
  bool relu = false;        // then max(c, 0)
  bool row_sums = false;    // writes the sums over k of op(a)'s rows, [m] in dtype `out`; not with bias or relu
  bool accumulate = false;  // c += instead of c =
  bool tf32 = false;        // f32 only
  friend bool operator==(const GemmProblem&, const GemmProblem&) = default;
  friend auto operator<=>(const GemmProblem&, const GemmProblem&) = default;
};

/// The problem in words, for error messages.
std::string describe(const GemmProblem& problem);

/// Device memory; every pointer on a 16-byte boundary.
struct GemmPointers {
  void* c;
  const void* a;
  const void* b;
  const void* bias = nullptr;
  void* row_sums = nullptr;
};

/// An algorithm on one device, or the reason why there is none. Immutable; any thread may run it.
class GemmPlan {
 public:
  bool exists() const { return chosen_ != nullptr; }
  const std::string& reason() const { return reason_; }
  /// Enqueues the product on the compute stream of the current device.
  void run(const GemmPointers& pointers) const;

 private:
  friend GemmPlan make_gemm_plan(const GemmProblem& problem);
  struct Chosen;
  std::shared_ptr<const Chosen> chosen_;
  std::string reason_;
};

/// Returns the plan for the current device. The reference stays valid until the process ends.
const GemmPlan& gemm_plan(const GemmProblem& problem);

}  // namespace fulcrum::cuda
