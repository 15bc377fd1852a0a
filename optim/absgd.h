// ABSGD: SGD whose batches are weighted by exp(loss/λ); and the same weights under Adam.
//
//   Absgd opt(net.parameters(), {.lr = 0.1, .momentum = 0.9, .weight_decay = 2e-4,
//                                .lambda = 5, .gamma = 0.7});
//   opt.zero_grad();
//   opt.weigh(cross_entropy(net(images), labels)).backward();
//   opt.step();
//
// λ > 0 raises the weight of hard samples (imbalanced classes), λ < 0 lowers it (wrong labels), and
// λ = ∞ is plain SGD bit for bit. Qi et al., TMLR 2023, arXiv 2012.06951.
#pragma once

#include <fulcrum/optim/optimizer.h>

namespace fulcrum {

struct AbsgdOptions {
  double lr;
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
};

struct AbAdamOptions {
  double lr;
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
};

/// A rule (Sgd or Adam) with KlRisk.
template <class Rule, class RuleOptions, class Options>
class AttentionalBiased : public Rule {
 public:
  AttentionalBiased(std::vector<Tensor> parameters, const Options& options)
      : Rule(std::move(parameters), rule_options(options)) {
    const Device device = this->control_.device();
    this->set_risk(std::make_unique<KlRisk>(
        KlRiskOptions{options.lambda, options.gamma, options.alpha, options.additive, options.u_init, options.keep_u},
        device));
  }

  KlRisk& kl() { return static_cast<KlRisk&>(this->risk()); }
  double lambda() { return kl().lambda(); }
  /// A device fill: takes effect with the next batch.
  void set_lambda(double lambda) { kl().set_lambda(lambda); }

 private:
  static RuleOptions rule_options(const Options& o) {
    if constexpr (requires { o.momentum; }) return {o.lr, o.momentum, o.weight_decay, o.nesterov, o.max_norm};
    else return {o.lr, o.beta1, o.beta2, o.eps, o.weight_decay, o.decoupled, o.max_norm};
  }
};

using Absgd = AttentionalBiased<Sgd, SgdOptions, AbsgdOptions>;
using AbAdam = AttentionalBiased<Adam, AdamOptions, AbAdamOptions>;

}  // namespace fulcrum
