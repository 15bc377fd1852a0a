// Risk: computes the weights of a batch's samples from their losses.
//
//   KlRisk risk({.lambda = 5, .gamma = 0.9});
//   Tensor p = risk.weights(losses, {.indices = batch.indices});   // [B], detached
//
// Training minimises Σ pᵢ lᵢ with p held constant, so one forward and one backward pass are enough.
// A new risk derives from Risk, computes p with ops or with a kernel of core/kernels.inc, and works with every
// optimiser (docs/own-risk.md). risks.h has more risks. The mathematics and its sources are in docs/method.md.
#pragma once

#include <limits>
#include <map>
#include <memory>
#include <string>

#include <fulcrum/core/kernel_types.h>
#include <fulcrum/core/tensor.h>

namespace fulcrum {

/// What a risk may use besides the losses: per-sample tensors, each i64 [B] or undefined.
struct BatchContext {
  Tensor indices = {};  // position of each sample in the data set
  Tensor groups = {};   // group of each sample; by default its class
  /// With several processes (Optimizer::distribute): samples of the batch in all processes together. 0: all processes
  /// have as many as this one.
  int64_t total = 0;
};

/// Throws Error unless indices and groups, where given, are i64 [B] like the losses [B]; `op` begins the message.
void check_context(const char* op, const Tensor& losses, const BatchContext& context);

/// Averages over the steps since the last reset_summary().
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
  /// Returns the weights [B] for detached losses [B] (f32, or f64 in a double-precision run).
  virtual Tensor weights(const Tensor& losses, const BatchContext& context) = 0;
  /// What a checkpoint must contain: handles on the live tensors, to save from or to copy into.
  virtual std::map<std::string, Tensor> state() { return {{"statistics", statistics_}}; }
  /// Copies of the state on the CPU, for a risk that no optimiser saves; an optimiser's state_dict() has its risk's.
  std::map<std::string, Tensor> state_dict();
  /// Throws Error, and changes nothing, if a tensor is missing, unexpected or of another shape; the error names it.
  void load_state_dict(const std::map<std::string, Tensor>& state);

  /// The averages since the last reset. Waits for the device.
  RiskSummary summary() const;
  void reset_summary();

 protected:
  explicit Risk(Device device);
  /// Allocates the weights. Throws Error unless losses and groups are on the device of the risk's state.
  Tensor like_losses(const Tensor& losses, const BatchContext& context = {}) const;
  /// Adds a step with these weights to the summary, without waiting for the device. Call it in risks that compute the
  /// weights with ops; the kernels of the other risks do this themselves. Skips the step if the weights are not finite.
  void add_to_summary(const Tensor& weights);
  Tensor statistics_;  // f64 [kRiskStatisticsSize]
};

struct MeanOptions {
  /// Per-class weights f32 [C] by which the losses are already multiplied. The weights are then 1/Σ w, so that the
  /// objective is the weighted mean Σ w l / Σ w, as in PyTorch and LDAM-DRW. Undefined: 1/B.
  Tensor class_weight = {};
};

/// The plain mean: p = 1/B.
class MeanRisk : public Risk {
 public:
  explicit MeanRisk(MeanOptions options = {}, Device device = {});
  const char* name() const override { return "mean"; }
  Tensor weights(const Tensor& losses, const BatchContext& context) override;
  /// Replaces the class weights, for deferred re-weighting.
  void set_class_weight(Tensor class_weight) { options_.class_weight = std::move(class_weight); }

 private:
  MeanOptions options_;
};

enum class UInit { kFirstBatch, kZero };
/// kMovingAverage is the update of ABSGD and, with u_init = kFirstBatch, of SOX. kScent is a step of proximal
/// mirror descent instead; it requires λ > 0.
enum class UUpdate { kMovingAverage, kScent };

struct KlRiskOptions {
  /// λ: positive for min-max (imbalance), negative for min-min (label noise), ±∞ for plain SGD.
  double lambda = std::numeric_limits<double>::infinity();
  double gamma = 0.9;   // step of the moving average u, in (0, 1]
  double alpha = 1;     // scales the batch mean that enters u
  double additive = 0;  // adds additive/B to every weight; at least 0
  UInit u_init = UInit::kFirstBatch;
  bool keep_u = false;  // do not restart u when λ changes
  UUpdate u_update = UUpdate::kMovingAverage;
  double log_step = 10;  // kScent only: log of its step size
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
  /// Leaving a finite λ restarts u unless keep_u; while λ is ±∞, u does not change. Waits for the device.
  void set_lambda(double lambda);
  /// For annealing. Takes effect with the next batch, but not in a replayed step, which keeps the γ of its recording
  /// (core/replay.h).
  void set_gamma(double gamma);
  /// The current log u; −∞ before the first weighted batch. Waits for the device.
  double log_u() const;

 private:
  KlRiskOptions options_;
  KlOptions kernel_options_;
  Tensor state_;  // f64 [kKlStateSize]
};

}  // namespace fulcrum
