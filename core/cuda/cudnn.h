// Convolutions through cuDNN's graph API. This header includes none of cuDNN's.
//
//   const ConvProblem problem{ConvPass::kForward, DType::kBf16, /*bias=*/false, /*tf32=*/false, g};
//   const ConvPlan& plan = conv_plan(problem);           // built at the first use, then looked up
//   if (plan.exists()) plan.run({.x = x.raw(), .w = w.raw(), .y = y.raw()});
//
// x and y are NHWC, w is [out, kh, kw, in/groups]; bf16 is summed in f32. Plans whose results are not
// reproducible, or that sum in less than f32, are never used.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <fulcrum/core/kernel_types.h>

namespace fulcrum::cuda {

enum class ConvPass : uint8_t { kForward, kDataGradient, kWeightGradient };

/// All that a plan depends on besides the device.
struct ConvProblem {
  ConvPass pass;
  DType dtype;  // of x, w and y alike: f32, bf16 or f64
  bool bias;    // kForward only; its dtype is f64 for f64, else f32
  bool tf32;    // f32 only
  Conv2dGeometry geometry;
  friend bool operator==(const ConvProblem&, const ConvProblem&) = default;
  friend auto operator<=>(const ConvProblem&, const ConvProblem&) = default;
};

/// "conv2d", "conv2d_data_gradient", "conv2d_weight_gradient".
const char* name_of(ConvPass pass);
/// The whole problem in one line: for error messages, and the name under which its plan is stored.
std::string describe(const ConvProblem& problem);

/// Device memory by role; every pointer on a 16-byte boundary. The pass decides which of x, w and y is written.
struct ConvPointers {
  const void* x;
  const void* w;
  const void* y;
  const void* bias = nullptr;
};

/// A plan on one device, or the reason why there is none. Immutable; any thread may run it.
class ConvPlan {
 public:
  bool exists() const { return built_ != nullptr; }
  const std::string& reason() const { return reason_; }
  /// Enqueues the convolution on the compute stream of the current device.
  void run(const ConvPointers& pointers) const;

 private:
  friend class ConvPlanner;
  struct Built;
  std::shared_ptr<const Built> built_;
  std::string reason_;
};

/// Returns the plan for the current device. The first call for a problem builds it; throws Error if the compute stream
/// is being captured into a graph then. The reference stays valid until the process ends.
const ConvPlan& conv_plan(const ConvProblem& problem);

/// The names of the usable plans on a device, best first, by cuDNN's heuristics. `device` is cuDNN's JSON of a device's
/// properties: no GPU is needed.
std::vector<std::string> conv_plan_names(const ConvProblem& problem, const std::string& device);

/// E.g. "9.19.0". Throws Error if the library is missing or of another major version.
std::string cudnn_version();

}  // namespace fulcrum::cuda
