// Risk: how the losses of a batch become the weights of its samples.
//
//   KlRisk risk({.lambda = 5, .gamma = 0.9});
//   Tensor p = risk.weights(losses, {.indices = batch.indices});   // [B], detached
//
// Training minimises Σ pᵢ lᵢ with p held constant, so one forward and one backward pass are enough.
// A new risk derives from Risk, makes p of operations or by a kernel of core/kernels.inc, and works with every
// optimiser (docs/own-risk.md); risks.h has more. The mathematics and its sources are in docs/method.md.
#pragma once

#include <limits>
#include <map>
#include <memory>
#include <string>

#include <fulcrum/core/kernel_types.h>
#include <fulcrum/core/tensor.h>

namespace fulcrum {

/// What a risk may know of the samples of a batch; each i64 [B] or undefined.
struct BatchContext {
  Tensor indices = {};  // position in the data set
  Tensor groups = {};   // group of each sample; by default its class
  /// In one of several processes (Optimizer::distribute): samples of the batch in all of them. 0: in each as many.
  int64_t total = 0;
};

/// Averages over the steps since the last reset.
struct RiskSummary {
  double log_mean_exp = 0;        // log mean exp(l/λ); 0 where λ = ±∞
  double weight_sum = 0;          // Σ p
  double effective_fraction = 0;  // (Σ p)² / (B Σ p²): 1 for equal weights, 1/B for one sample
  int64_t steps = 0;
};

class Risk {
 public:
  virtual ~Risk() = default;
  virtual const char* name() const = 0;
  /// Weights [B] of detached losses [B] (f32, or f64 in a double-precision run).
  virtual Tensor weights(const Tensor& losses, const BatchContext& context) = 0;
  /// What a checkpoint must hold: handles on live tensors, to be saved from or copied into.
  virtual std::map<std::string, Tensor> state() { return {{"statistics", statistics_}}; }

  /// Reads the statistics from the device.
  RiskSummary summary() const;
  void reset_summary();

 protected:
  explicit Risk(Device device);
  /// Memory for the weights. An Error unless losses and groups lie where the risk's state does.
  Tensor like_losses(const Tensor& losses, const BatchContext& context = {}) const;
  /// Adds a step with these weights to the summary, without waiting for the device: for risks that are not a kernel, which
  /// does so itself. Weights that are not finite are left out.
  void add_to_summary(const Tensor& weights);
  Tensor statistics_;  // f64 [kRiskStatisticsSize]
};

struct MeanOptions {
  /// Per-class weights f32 [C] that the losses already carry: the mean is then Σ w l / Σ w (the
  /// convention of PyTorch and LDAM-DRW). Undefined: 1/B.
  Tensor class_weight = {};
};

/// The plain mean: p = 1/B.
class MeanRisk : public Risk {
 public:
  explicit MeanRisk(MeanOptions options = {}, Device device = {});
  const char* name() const override { return "mean"; }
  Tensor weights(const Tensor& losses, const BatchContext& context) override;
  /// Switches the class weights, for deferred re-weighting.
  void set_class_weight(Tensor class_weight) { options_.class_weight = std::move(class_weight); }

 private:
  MeanOptions options_;
};

enum class UInit { kFirstBatch, kZero };
/// kMovingAverage is ABSGD's and, with u_init = kFirstBatch, SOX's; kScent takes a step of proximal
/// mirror descent instead, for λ > 0.
enum class UUpdate { kMovingAverage, kScent };

struct KlRiskOptions {
  /// λ: positive for min-max (imbalance), negative for min-min (label noise), ±∞ for plain SGD.
  double lambda = std::numeric_limits<double>::infinity();
  double gamma = 0.9;   // step of the moving average u, in (0, 1]
  double alpha = 1;     // scales the batch mean that enters u
  double additive = 0;  // adds additive/B to every weight; 0 or 1
  UInit u_init = UInit::kFirstBatch;
  bool keep_u = false;  // do not restart u when λ changes
  UUpdate u_update = UUpdate::kMovingAverage;
  double log_step = 10;  // of SCENT
};

/// The weights of ABSGD: pᵢ = exp(lᵢ/λ) / (B·u), u ← (1−γ)·u + γ·α·mean exp(l/λ), kept as log u.
/// Qi et al., TMLR 2023 (arXiv 2012.06951), algorithm 1.
class KlRisk : public Risk {
 public:
  /// Throws Error for λ = 0 or NaN and for γ, α or additive out of range.
  explicit KlRisk(const KlRiskOptions& options, Device device = {});
  const char* name() const override { return "kl"; }
  Tensor weights(const Tensor& losses, const BatchContext& context) override;
  std::map<std::string, Tensor> state() override;

  double lambda() const;
  /// Waits for the device. Between finite values u starts anew unless keep_u; from ±∞ it has not begun.
  void set_lambda(double lambda);
  /// For annealing; takes effect with the next batch that is not a replayed step's: there γ is frozen (core/replay.h).
  void set_gamma(double gamma);
  /// log u, from the device; −∞ before the first weighted batch.
  double log_u() const;

 private:
  KlRiskOptions options_;
  KlOptions kernel_options_;
  Tensor state_;  // f64 [kKlStateSize]
};

}  // namespace fulcrum
