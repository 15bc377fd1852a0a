// Layers: convolution, normalisation, linear, dropout, activations and pooling as Modules. Names, options and defaults
// are PyTorch's; images are NHWC.
//
//   Conv2d conv({.in = 3, .out = 16, .kernel = 3, .padding = 1, .bias = false});
//   BatchNorm bn({.channels = 16});
//   Tensor y = bn.fused(conv(x), {.relu = true});
//
// The dtype of the batch selects the arithmetic: layers use weight.as(x.dtype()), which is the bf16 twin
// in a model that was moved to bf16; per-channel vectors stay f32 (f64 in an f64 model).
#pragma once

#include <optional>

#include <fulcrum/core/ops.h>
#include <fulcrum/layers/module.h>

namespace fulcrum {

struct BatchPart;  // distribute.h

struct Conv2dOptions {
  int64_t in;
  int64_t out;
  Size2 kernel;
  Size2 stride = 1;
  Size2 padding = 0;
  Size2 dilation = 1;
  int64_t groups = 1;
  bool bias = true;
  Init weight_init = Init::pytorch();
};

/// x [N, H, W, in] → [N, H', W', out]. The bias is initialised uniformly in ±1/√fan_in.
class Conv2d : public Module {
 public:
  explicit Conv2d(const Conv2dOptions& options);
  Tensor forward(const Tensor& x) override;
  const Conv2dOptions& options() const { return options_; }
  Tensor weight;  // [out, kh, kw, in / groups]
  Tensor bias;    // [out], or undefined

 private:
  Conv2dOptions options_;
};

struct BatchNormLayerOptions {
  int64_t channels;
  double eps = 1e-5;
  double momentum = 0.1;
  bool affine = true;
};

/// PyTorch's BatchNorm1d and BatchNorm2d: normalises over all but the last dimension of x [N, C] or
/// [N, H, W, C]. Throws Error in training mode if there is only one value per channel.
class BatchNorm : public Module {
 public:
  /// Operations fused into the same kernel: relu?(bn(x) + residual).
  struct Fusion {
    Tensor residual = {};  // like x, or undefined
    bool relu = false;
  };

  explicit BatchNorm(const BatchNormLayerOptions& options);
  Tensor forward(const Tensor& x) override;
  /// bn(x), residual sum and ReLU in one pass over memory. The ForwardObserver is called with the final result.
  Tensor fused(const Tensor& x, const Fusion& fusion) { return observed(normalise(x, fusion)); }
  Tensor weight, bias;               // [C], initially 1 and 0; undefined when not affine
  Tensor running_mean, running_var;  // [C]; running_var is the unbiased variance
  Tensor num_batches_tracked;        // i64 [], on the host
  /// Uses statistics of the whole batch instead of this process's part (distribute.h).
  void distribute(std::shared_ptr<const BatchPart> part) { part_ = std::move(part); }

 private:
  Tensor normalise(const Tensor& x, const Fusion& fusion);
  BatchNormLayerOptions options_;
  std::shared_ptr<const BatchPart> part_;
};

struct LayerNormOptions {
  int64_t channels;
  double eps = 1e-5;
  bool affine = true;
};

/// Normalises over the last dimension of x [..., C].
class LayerNorm : public Module {
 public:
  explicit LayerNorm(const LayerNormOptions& options);
  Tensor forward(const Tensor& x) override { return layer_norm(x, weight, bias, eps_); }
  Tensor weight, bias;  // [C], initially 1 and 0; undefined when not affine

 private:
  double eps_;
};

struct GroupNormOptions {
  int64_t groups;
  int64_t channels;
  double eps = 1e-5;
  bool affine = true;
};

/// Normalises each sample of x [N, ..., C] within groups of channels.
class GroupNorm : public Module {
 public:
  explicit GroupNorm(const GroupNormOptions& options);
  Tensor forward(const Tensor& x) override { return group_norm(x, groups_, weight, bias, eps_); }
  Tensor weight, bias;  // [C], initially 1 and 0; undefined when not affine

 private:
  int64_t groups_;
  double eps_;
};

struct LinearOptions {
  int64_t in;
  int64_t out;
  bool bias = true;
  bool relu = false;  // fuses a ReLU of the output
  Init weight_init = Init::pytorch();
};

/// x [..., in] → [..., out]. The bias is initialised uniformly in ±1/√in.
class Linear : public Module {
 public:
  explicit Linear(const LinearOptions& options);
  Tensor forward(const Tensor& x) override;
  Tensor weight;  // [out, in]
  Tensor bias;    // [out], or undefined

 private:
  bool relu_;
};

struct NormedLinearOptions {
  int64_t in;
  int64_t out;
};

/// The cosine of x [..., in] with each class vector: the head of LDAM (Cao et al., NeurIPS 2019). Both
/// are divided by max(‖·‖₂, 1e-12); there is no bias. The class vectors are initialised uniformly in
/// [−1, 1) and scaled to length 1. The weight is [out, in] like Linear's; the reference's is [in, out].
/// Computes and returns in the dtype of the master weights (f32 in a bf16 run): LDAM scales cosines by
/// 30, and bf16 resolves them to only 1/256.
class NormedLinear : public Module {
 public:
  explicit NormedLinear(const NormedLinearOptions& options);
  Tensor forward(const Tensor& x) override;
  Tensor weight;  // [out, in]
};

struct EmbeddingOptions {
  int64_t num;  // rows
  int64_t dim;
};

/// Rows of a table by their numbers: x i64 [...] in [0, num) → [..., dim], in the dtype of the batches that to() was given.
/// Initialised from a standard normal.
class Embedding : public Module {
 public:
  explicit Embedding(const EmbeddingOptions& options);
  Tensor forward(const Tensor& x) override;
  Tensor weight;  // [num, dim]
};

struct DropoutOptions {
  double p = 0.5;                     // in [0, 1)
  std::optional<uint64_t> seed = {};  // default: the model's seed
};

/// In training, zeroes elements with probability p and scales the rest by 1/(1−p). Each layer draws its
/// masks from a generator of its own (Module::named_generators), so that no two layers share a mask.
class Dropout : public Module {
 public:
  explicit Dropout(const DropoutOptions& options);
  Tensor forward(const Tensor& x) override;
  void set_p(double p);
  /// Draws the masks for the whole batch (DropoutPart); this process uses its own rows.
  void distribute(std::shared_ptr<const BatchPart> part) { part_ = std::move(part); }

 private:
  double p_;
  std::shared_ptr<const BatchPart> part_;
  Generator& generator_;
};

class ReLU : public Module {
 public:
  Tensor forward(const Tensor& x) override { return relu(x); }
};

struct GELUOptions {
  GeluApproximation approximate = GeluApproximation::kNone;
};

class GELU : public Module {
 public:
  explicit GELU(const GELUOptions& options = {}) : options_(options) {}
  Tensor forward(const Tensor& x) override { return gelu(x, options_.approximate); }

 private:
  GELUOptions options_;
};

class MaxPool2d : public Module {
 public:
  explicit MaxPool2d(const PoolOptions& options) : options_(options) {}
  Tensor forward(const Tensor& x) override { return max_pool2d(x, options_); }

 private:
  PoolOptions options_;
};

class AvgPool2d : public Module {
 public:
  explicit AvgPool2d(const PoolOptions& options) : options_(options) {}
  Tensor forward(const Tensor& x) override { return avg_pool2d(x, options_); }

 private:
  PoolOptions options_;
};

/// x [N, H, W, C] → [N, C], the mean over the image.
class GlobalAvgPool2d : public Module {
 public:
  Tensor forward(const Tensor& x) override { return global_avg_pool2d(x); }
};

/// x [N, ...] → [N, rest]. Flattens images in PyTorch's order C, H, W, so that the weights of a Linear
/// that follows are interchangeable between the two libraries. This costs a copy unless H = W = 1 or C = 1.
class Flatten : public Module {
 public:
  Tensor forward(const Tensor& x) override;
};

/// Runs its children one after another. They are named "0", "1", …
///
///   Sequential net(seed);
///   net.append<Linear>(LinearOptions{.in = 8, .out = 2});
class Sequential : public Module {
 public:
  using Module::Module;
  template <class T, class... Args>
  T& append(Args&&... args) {
    return add<T>(std::to_string(children().size()), std::forward<Args>(args)...);
  }
  Tensor forward(const Tensor& x) override;
};

/// Adds one to the num_batches_tracked of every batch norm that is in training mode. Call it after a replayed step
/// (core/replay.h), in which the host code of the forward pass, and with it this count, does not run.
void count_training_batch(Module& model);

}  // namespace fulcrum
