// The plain structs that kernels take, and the columns of their tables, for code that does not itself call kernels.
#pragma once

#include <cstdint>

#include <fulcrum/core/phi.h>
#include <fulcrum/core/tensor.h>

namespace fulcrum {

/// Copies a box: for every index of `extent`, y[y_offset + i·y_strides] = x[x_offset + i·x_strides].
/// Offsets and strides in elements.
struct StridedCopy {
  Shape extent;
  int64_t x_offset = 0, y_offset = 0;
  int64_t x_strides[Shape::kMaxDims] = {};
  int64_t y_strides[Shape::kMaxDims] = {};
};

/// Indexing along one dimension: element [o, k, i] of y [outer, count, inner] corresponds to element [o, index, i] of
/// x [outer, size, inner]. The indices, i64, are [outer, count, inner] or, for whole slices, [count].
struct IndexLoop {
  int64_t outer, size, count, inner;
  bool slices;
  FULCRUM_HD int64_t index_at(int64_t o, int64_t k, int64_t i) const {
    return slices ? k : (o * count + k) * inner + i;
  }
};

/// Two tensors of equal size; kernels write y.
struct TensorPair {
  Tensor y, x;
};

/// All sizes of a convolution; back-ends use it as the key of cached plans.
struct Conv2dGeometry {
  int64_t n, h, w, c;
  int64_t out_h, out_w, out_c;
  int64_t kernel_h, kernel_w, stride_h, stride_w, padding_h, padding_w, dilation_h, dilation_w;
  int64_t groups;
  friend bool operator==(const Conv2dGeometry&, const Conv2dGeometry&) = default;
  friend auto operator<=>(const Conv2dGeometry&, const Conv2dGeometry&) = default;
};

struct Pool2dGeometry {
  int64_t n, h, w, c, out_h, out_w;
  int64_t kernel_h, kernel_w, stride_h, stride_w, padding_h, padding_w;
  bool count_include_pad;  // average: divide by the whole window, padding included
};

struct BatchNormOptions {
  double eps = 1e-5;
  double momentum = 0.1;  // running = (1 − momentum)·running + momentum·batch
  bool relu = false;
  bool training = true;  // in the gradient: whether mean and rstd depend on x
};

/// What the forward pass of batch normalisation saves for its gradient. To find the zeros of the ReLU, the gradient
/// reads the result y; if y is undefined, it recomputes the ReLU's input from affine and x, which it reads anyway. y is
/// saved with a residual, in evaluation mode, and for a batch spread over processes; the last two have no affine.
struct BatchNormSaved {
  Tensor mean, rstd;  // [C]
  Tensor affine;      // [2, C]: the scale and shift of x − mean
  Tensor y;
};

/// Per-class vectors of the cross entropy, each f32 [C] (f64 for f64 logits) or undefined.
struct CrossEntropyTensors {
  Tensor adjust, margin, class_weight, temperature;
};

struct CrossEntropyOptions {
  double scale = 1;
  double smoothing = 0;
  Phi phi = {};
};

/// For an x that is part of a larger tensor: blocks of 4 elements before x, and in all (0: x is the whole tensor).
struct DropoutBlocks {
  int64_t before = 0, all = 0;
};

/// Device state of the KL risk, f64 [2].
enum KlState : int { kLogU = 0, kInvLambda = 1, kKlStateSize = 2 };
/// Running sums over the steps since the last reset, f64 [4].
enum RiskStatistics : int {
  kSumLogMean = 0,    // Σ log mean exp(l/λ)
  kSumWeight = 1,     // Σ Σᵢ pᵢ
  kSumEffective = 2,  // Σ (Σp)² / (B Σp²)
  kSteps = 3,
  kRiskStatisticsSize = 4
};
struct KlOptions {
  double gamma = 0.9;
  double alpha = 1;
  double additive = 0;
  bool start_from_zero = false;  // u₀ = 0 instead of u₁ = α·m₁
  bool scent = false;            // γ = σ(log_step + log u) instead of a constant
  double log_step = 10;
};

/// Device state of the KL ball, f64 [5]; the first two as in KlState.
enum KlBallState : int { kFilled = 2, kNext = 3, kBallSteps = 4, kKlBallStateSize = 5 };
/// The sign of λ, and which statistic of the window must equal `target`.
struct KlBallOptions {
  bool positive = true;
  bool by_fraction = false;  // the statistic is (Σp)²/(n Σp²) instead of KL(p ‖ 1/n)
  double target = 1;
  int64_t every = 10;  // λ is solved for every so many steps
};

/// State that updates read and write besides the arenas, f64 [4].
enum UpdateControl : int { kStep = 0, kClip = 1, kNorm = 2, kBad = 3, kControlSize = 4 };

/// The ranges of an arena that an update touches, and their hyper-parameters.
struct Segments {
  Tensor offset, size;  // i64 [S], elements, the offsets ascending
  Tensor group;         // i32 [S]
  Tensor hyper;         // f64 [G, 2]: learning rate, weight decay
};
struct SgdRule {
  double momentum = 0;
  bool nesterov = false;
};
struct AdamRule {
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  bool decoupled = false;  // weight decay as in AdamW
};

/// Columns of the table of samples, f32 [N, 4].
enum SampleColumns : int {
  kSampleWeightSum = 0,  // Σ B·p over the visits; plain averaging has B·p = 1
  kSampleVisits = 1,
  kSampleWeight = 2,  // B·p at the last visit
  kSampleLoss = 3,    // at the last visit
  kSampleColumns = 4
};

/// Random erasing (Zhong et al., AAAI 2020) as torchvision's: a rectangle of a random share of the area and of a random
/// aspect ratio, somewhere in the image, becomes 0 after normalisation, which is the mean.
struct EraseOptions {
  double probability = 0;
  double area_min = 0.02, area_max = 0.33;  // shares of the image
  double ratio_min = 0.3, ratio_max = 3.3;  // height over width; its logarithm is uniform
  friend bool operator==(const EraseOptions&, const EraseOptions&) = default;
};

struct AugmentOptions {
  int pad = 0;          // zero pixels on each side before the random crop back to h×w
  bool flip = false;    // left-right with probability ½
  double rotation = 0;  // uniform in ± this many degrees; after crop and flip
  EraseOptions erase = {};
  uint64_t seed = 0;
};

}  // namespace fulcrum
