// Absgd and AbAdam: SGD and Adam that weight the samples of each batch by exp(loss/λ) (ABSGD).
//
//   Absgd opt(net.parameters(), {.lr = 0.1, .momentum = 0.9, .weight_decay = 2e-4,
//                                .lambda = 5, .gamma = 0.7});
//   opt.zero_grad();
//   opt.weigh(cross_entropy(net(images), labels)).backward();
//   opt.step();
//
// λ > 0 raises the weight of hard samples (imbalanced classes), λ < 0 lowers it (wrong labels), and λ = ∞ is plain SGD
// bit for bit. Unlike Sgd, Absgd has a default momentum of 0.9. Qi et al., TMLR 2023, arXiv 2012.06951.
#pragma once

#include <fulcrum/optim/optimizer.h>

namespace fulcrum {

/// The options of Sgd (with another default for momentum), then those of KlRisk.
struct AbsgdOptions {
  double lr = kNotGiven;
  double momentum = 0.9;
  double weight_decay = 0;
  bool nesterov = false;
  double max_norm = 0;
  double lambda = std::numeric_limits<double>::infinity();
  double gamma = 0.9;
  double alpha = 1;
  double additive = 0;
  UInit u_init = UInit::kFirstBatch;
  bool keep_u = false;
  UUpdate u_update = UUpdate::kMovingAverage;
  double log_step = 10;
};

/// The options of Adam, then those of KlRisk.
struct AbAdamOptions {
  double lr = kNotGiven;
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  double weight_decay = 0;
  bool decoupled = false;  // true: AdamW
  double max_norm = 0;
  double lambda = std::numeric_limits<double>::infinity();
  double gamma = 0.9;
  double alpha = 1;
  double additive = 0;
  UInit u_init = UInit::kFirstBatch;
  bool keep_u = false;
  UUpdate u_update = UUpdate::kMovingAverage;
  double log_step = 10;
};

/// An optimiser (Sgd or Adam) whose risk is a KlRisk.
template <class Rule, class RuleOptions, class Options>
class AttentionalBiased : public Rule {
 public:
  AttentionalBiased(std::vector<Tensor> parameters, const Options& options)
      : Rule(std::move(parameters), rule_options(options)) {
    weigh_by(options);
  }
  AttentionalBiased(std::vector<ParamGroup> groups, const Options& options)
      : Rule(std::move(groups), rule_options(options)) {
    weigh_by(options);
  }

  /// The KlRisk. Throws Error if set_risk has replaced it by another risk.
  KlRisk& kl() {
    auto* kl = dynamic_cast<KlRisk*>(&this->risk());
    check(kl != nullptr, "[absgd] expected a KlRisk, which has a λ, got risk '", this->risk().name(), "'");
    return *kl;
  }
  double lambda() { return kl().lambda(); }
  /// Takes effect with the next batch. Waits for the device.
  void set_lambda(double lambda) { kl().set_lambda(lambda); }

 private:
  void weigh_by(const Options& o) {
    const KlRiskOptions risk{.lambda = o.lambda,
                             .gamma = o.gamma,
                             .alpha = o.alpha,
                             .additive = o.additive,
                             .u_init = o.u_init,
                             .keep_u = o.keep_u,
                             .u_update = o.u_update,
                             .log_step = o.log_step};
    this->set_risk(std::make_unique<KlRisk>(risk, this->control_.device()));
  }
  static RuleOptions rule_options(const Options& o) {
    if constexpr (requires { o.momentum; }) return {o.lr, o.momentum, o.weight_decay, o.nesterov, o.max_norm};
    else return {o.lr, o.beta1, o.beta2, o.eps, o.weight_decay, o.decoupled, o.max_norm};
  }
};

using Absgd = AttentionalBiased<Sgd, SgdOptions, AbsgdOptions>;
using AbAdam = AttentionalBiased<Adam, AdamOptions, AbAdamOptions>;

}  // namespace fulcrum
