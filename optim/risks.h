// More risks: CVaR, χ², RGD, groups, the KL ball (which solves for λ), and deferral of a risk.
//
//   Sgd opt(net.parameters(), {.lr = 0.1, .momentum = 0.9});
//   opt.set_risk(std::make_unique<CvarRisk>(0.2));             // the hardest fifth of the batch
//   opt.set_risk(std::make_unique<KlBallRisk>(KlBallRiskOptions{.fraction = 0.5}));
//   opt.weigh(losses, {.groups = labels}).backward();
//
// Each returns finite, non-negative weights for any finite losses. If a loss of the batch is not finite,
// all weights are 0 and no state changes. Formulas, edge cases and sources are in docs/method.md.
#pragma once

#include <fulcrum/optim/risk.h>

namespace fulcrum {

/// Conditional value at risk: the mean of the largest losses, a fraction `level` of the batch. Levy et
/// al. 2020. Ties share their weight. level·B ≤ 1 uses only the largest loss; level = 1 is the mean.
class CvarRisk : public Risk {
 public:
  /// level in (0, 1].
  explicit CvarRisk(double level, Device device = {});
  const char* name() const override { return "cvar"; }
  Tensor weights(const Tensor& losses, const BatchContext& context) override;

 private:
  double level_;
};

/// The worst weights with ½·mean((Bp−1)²) ≤ ρ: p = relu(l−η)/Σ. Levy et al. 2020.
class Chi2Risk : public Risk {
 public:
  /// rho > 0; if rho ≥ (B−1)/2, the largest loss has all the weight.
  explicit Chi2Risk(double rho, Device device = {});
  const char* name() const override { return "chi2"; }
  Tensor weights(const Tensor& losses, const BatchContext& context) override;

 private:
  double rho_;
};

/// Re-weighted gradient descent: p = exp(min(l, τ)/(τ+1))/B, not normalised. Kumar et al. 2023.
class RgdRisk : public Risk {
 public:
  /// tau ≥ 0; for non-negative losses, 0 is the mean.
  explicit RgdRisk(double tau, Device device = {});
  const char* name() const override { return "rgd"; }
  Tensor weights(const Tensor& losses, const BatchContext& context) override;

 private:
  double tau_;
};

struct GroupRiskOptions {
  int64_t groups;     // number of groups; by default a sample's group is its class
  double eta = 0.01;  // step size of the exponentiated gradient
  /// C of the adjusted loss L_g + C/√n_g, where n_g is the number of training samples of group g, given in
  /// `counts`. A group without samples is not adjusted.
  double adjustment = 0;
  std::vector<int64_t> counts = {};
};

/// Group DRO: q_g ← q_g·exp(η·(mean loss of g + adjustment)), normalised; p = q_g/n_g, with n_g the samples
/// of the group in the batch. Sagawa et al. 2020. A group that is absent from a batch counts as having loss 0
/// and keeps its share q_g, which no sample of the batch receives: Σp ≤ 1.
class GroupRisk : public Risk {
 public:
  explicit GroupRisk(const GroupRiskOptions& options, Device device = {});
  const char* name() const override { return "group"; }
  /// Needs context.groups.
  Tensor weights(const Tensor& losses, const BatchContext& context) override;
  std::map<std::string, Tensor> state() override;
  /// q of every group. Waits for the device.
  std::vector<double> group_weights() const;

 private:
  double eta_;
  Tensor log_q_;  // f64 [groups]
  Tensor shift_;  // f64 [groups], η C/√n; undefined without adjustment
};

struct KlBallRiskOptions {
  /// Exactly one of the two: KL(p ‖ 1/n) = rho > 0, or (Σp)²/(n Σp²) = fraction in (0, 1), for the
  /// weights of the n losses in the window.
  double rho = 0, fraction = 0;
  bool positive = true;   // sign of λ: true emphasises large losses (imbalance), false small ones (label noise)
  int64_t window = 4096;  // recent losses kept; at least the batch size
  int64_t every = 10;     // steps between two solutions for λ
};

/// The weights of ABSGD, with λ solved for and log u = log mean exp(l/λ), both on a window of n recent
/// losses. Σp is 1 on average over the window; p ≤ n/B.
class KlBallRisk : public Risk {
 public:
  explicit KlBallRisk(const KlBallRiskOptions& options, Device device = {});
  const char* name() const override { return "kl_ball"; }
  Tensor weights(const Tensor& losses, const BatchContext& context) override;
  std::map<std::string, Tensor> state() override;
  /// The current λ; ±∞ if all losses of the window are equal. Waits for the device.
  double lambda() const;
  double log_u() const;

 private:
  KlBallOptions options_;
  Tensor state_, window_;  // f64 [kKlBallStateSize], f64 [window]
};

/// A warm start: the mean until set_active(true), then another risk. Both share one set of statistics.
class DeferredRisk : public Risk {
 public:
  explicit DeferredRisk(std::unique_ptr<Risk> risk);
  const char* name() const override { return risk_->name(); }
  Tensor weights(const Tensor& losses, const BatchContext& context) override;
  std::map<std::string, Tensor> state() override { return risk_->state(); }
  void set_active(bool active) { active_ = active; }
  Risk& risk() { return *risk_; }

 private:
  std::unique_ptr<Risk> risk_;
  bool active_ = false;
};

}  // namespace fulcrum
