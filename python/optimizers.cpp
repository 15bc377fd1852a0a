// The optimisers. Each shares its risk with Python, so that a risk can be made first, handed over, and read later.
#include "bindings.h"
#include "integers.h"
#include "non_finite.h"

#include <fulcrum/optim/absgd.h>
#include <fulcrum/optim/risks.h>
#include <fulcrum/optim/schedule.h>

namespace fulcrum::python {

// A risk passed from Python, whose base class may not be initialised yet.
struct RiskArgument {
  nb::object object;
};

}  // namespace fulcrum::python

namespace nanobind::detail {

template <>
struct type_caster<fulcrum::python::RiskArgument> {
  NB_TYPE_CASTER(fulcrum::python::RiskArgument, make_caster<fulcrum::Risk>::Name)
  bool from_python(handle source, uint8_t, cleanup_list*) noexcept {
    if (!isinstance<fulcrum::Risk>(source)) return false;
    value.object = borrow(source);
    return true;
  }
};

}  // namespace nanobind::detail

namespace fulcrum::python {

namespace {

using SharedRisk = std::shared_ptr<Risk>;
using OptionalRisk = std::optional<RiskArgument>;

// A risk for an optimiser, which must own its risk, that refers to one that Python owns, too. Both share the
// statistics.
class RiskHandle : public Risk {
 public:
  explicit RiskHandle(SharedRisk risk) : Risk(statistics_of(*risk).device()), risk_(std::move(risk)) {
    statistics_ = statistics_of(*risk_);
  }
  const char* name() const override { return risk_->name(); }
  Tensor weights(const Tensor& losses, const BatchContext& context) override { return risk_->weights(losses, context); }
  std::map<std::string, Tensor> state() override { return risk_->state(); }
  const SharedRisk& risk() const { return risk_; }

 private:
  // Calls the base class's state(): tensors that a class in Python adds may not exist before its first batch.
  static Tensor statistics_of(Risk& risk) { return risk.Risk::state().at("statistics"); }
  SharedRisk risk_;
};

void set_risk(Optimizer& opt, const SharedRisk& risk) { opt.set_risk(std::make_unique<RiskHandle>(risk)); }

void give_risk(Optimizer& opt, const RiskArgument& risk) {
  check(nb::inst_ready(risk.object), "[optim] expected a risk whose __init__ calls super().__init__(), got ",
        nb::inst_name(risk.object).c_str());
  set_risk(opt, nb::cast<SharedRisk>(risk.object));
}

SharedRisk risk_of(Optimizer& opt) { return dynamic_cast<RiskHandle&>(opt.risk()).risk(); }

KlRisk& kl_of(Optimizer& opt) {
  auto* kl = dynamic_cast<KlRisk*>(risk_of(opt).get());
  check(kl != nullptr, "[optim] expected a KlRisk, which has a λ, got risk '", opt.risk().name(), "'");
  return *kl;
}

// Tensors, or dictionaries {"params": […], "lr_scale": 1, "weight_decay": None}.
std::vector<ParamGroup> groups_of(const nb::iterable& parameters) {
  std::vector<ParamGroup> groups;
  ParamGroup plain;
  for (const nb::handle item : parameters) {
    if (nb::isinstance<Tensor>(item)) {
      plain.parameters.push_back(nb::cast<Tensor>(item));
      continue;
    }
    check(nb::isinstance<nb::dict>(item), "[optim] expected parameters or dictionaries, got ",
          nb::inst_name(item).c_str());
    ParamGroup group;
    for (const auto& [name, value] : nb::cast<nb::dict>(item)) {
      const auto key = nb::cast<std::string>(name);
      if (key == "params") group.parameters = nb::cast<std::vector<Tensor>>(value);
      else if (key == "lr_scale") group.lr_scale = nb::cast<double>(value);
      else if (key == "weight_decay") group.weight_decay = nb::cast<std::optional<double>>(value);
      else fail("[optim] expected a group's params, lr_scale or weight_decay, got '", key, "'");
    }
    groups.push_back(std::move(group));
  }
  if (!plain.parameters.empty()) groups.insert(groups.begin(), std::move(plain));
  return groups;
}

void choose_risk(Optimizer& opt, const OptionalRisk& risk) {
  if (risk) give_risk(opt, *risk);
  else set_risk(opt, std::make_shared<MeanRisk>(MeanOptions{}, opt.control().device()));
}

void bind_optimizer(nb::module_& m) {
  nb::class_<Optimizer>(m, "Optimizer", "An update rule for parameters, with a risk that weights the samples.")
      .def(
          "weigh",
          [](Optimizer& opt, const Tensor& losses, const OptionalIntegers& indices, const OptionalIntegers& groups) {
            check(losses.dtype() != DType::kBf16, "[weigh] expected losses f32 [B], one per sample, got bf16 ",
                  losses.shape(), "; begin the loss with logits.to('f32'), which cross_entropy does by itself");
            const BatchContext context{as_i64(indices, "weigh", "indices", losses),
                                       as_i64(groups, "weigh", "groups", losses)};
            return opt.weigh(losses, context);
          },
          "losses"_a, "indices"_a = nb::none(), "groups"_a = nb::none(), Unlocked(),
          "Σ pᵢ lᵢ of losses [B], to be differentiated; p comes from the risk and has no gradient. indices (in the data set) "
          "and groups are integers [B], for the risks that need them.")
      .def_prop_ro(
          "weights", [](const Optimizer& opt) { return or_none(opt.weights()); },
          "The weights of the last weigh(), [B].")
      .def("zero_grad", &Optimizer::zero_grad, Unlocked())
      .def(
          "step",
          [](Optimizer& opt) {
            opt.step();
            watch_of(opt).look(opt);
          },
          Unlocked(),
          "Clips the gradient if max_norm is set, and updates every parameter. Once a loss or gradient was not "
          "finite, it changes nothing any more, until clear_non_finite(); `on_non_finite` says what happens then.")
      .def_prop_rw(
          "on_non_finite", [](Optimizer& opt) { return watch_of(opt).policy(); },
          [](Optimizer& opt, const std::string& policy) { watch_of(opt).set_policy(policy); },
          "What step() does once a loss or gradient was not finite: 'warn' (once, RuntimeWarning), 'raise' (Error), or "
          "'skip', which leaves out the updates of such batches and goes on. On a GPU, 'warn' and 'raise' look at every "
          "100th step.")
      .def_prop_rw("lr", &Optimizer::lr, &Optimizer::set_lr)
      .def_prop_rw("risk", &risk_of, &give_risk)
      .def_prop_ro("gradient_norm", &Optimizer::gradient_norm,
                   "The norm of all gradients in the last step, before clipping.")
      .def_prop_ro("steps", &Optimizer::steps)
      .def_prop_ro("finite", &Optimizer::finite, "False once a loss or gradient was not finite.")
      .def("clear_non_finite", &Optimizer::clear_non_finite, "Lets step() update again.")
      .def("state_dict", &Optimizer::state_dict, Unlocked(),
           "A copy on the CPU: steps, the risk's state, momentum and the like.")
      .def("load_state_dict", &Optimizer::load_state_dict, "state"_a, Unlocked())
      .def(
          "__reduce__",
          [](const Optimizer&) -> nb::tuple {
            fail(
                "[copy] an optimiser belongs to its parameters and has no copy; load its state_dict() into an optimiser of the "
                "other parameters");
          },
          nb::sig("def __reduce__(self) -> tuple"));
}

template <class Rule>
void bind_lambda(nb::class_<Rule, Optimizer>& rule) {
  rule.def_prop_rw(
      "lambda_", [](Rule& opt) { return kl_of(opt).lambda(); },
      [](Rule& opt, double lambda) { kl_of(opt).set_lambda(lambda); },
      "λ; a new value applies from the next batch on.");
}

// ABSGD and Attentional-Biased Adam: the rule with KlRisk.
class AbsgdRule : public Watched<Sgd> {
 public:
  using Watched<Sgd>::Watched;
};
class AbAdamRule : public Watched<Adam> {
 public:
  using Watched<Adam>::Watched;
};

using Betas = std::pair<double, double>;
constexpr Betas kBetas{0.9, 0.999};

SharedRisk kl_risk(const Optimizer& opt, double lambda, double gamma, double alpha, double additive, UInit u_init,
                   bool keep_u) {
  return std::make_shared<KlRisk>(KlRiskOptions{lambda, gamma, alpha, additive, u_init, keep_u},
                                  opt.control().device());
}

void bind_sgd(nb::module_& m) {
  nb::class_<Watched<Sgd>, Optimizer>(
      m, "SGD",
      "SGD as in torch.optim.SGD. max_norm: norm to which the gradient is clipped (0: no clipping); the risk is the "
      "mean by default. on_non_finite: see the property.")
      .def(
          "__init__",
          [](Watched<Sgd>* self, const nb::iterable& params, double lr, double momentum, double weight_decay,
             bool nesterov, double max_norm, const OptionalRisk& risk, const std::string& on_non_finite) {
            new (self) Watched<Sgd>(groups_of(params), SgdOptions{lr, momentum, weight_decay, nesterov, max_norm});
            choose_risk(*self, risk);
            self->set_policy(on_non_finite);
          },
          "params"_a, "lr"_a, "momentum"_a = 0.0, "weight_decay"_a = 0.0, "nesterov"_a = false, "max_norm"_a = 0.0,
          "risk"_a = nb::none(), "on_non_finite"_a = "warn");
  nb::class_<AbsgdRule, Optimizer> absgd(
      m, "ABSGD",
      "ABSGD (Qi et al., TMLR 2023): SGD with KlRisk, whose arguments it takes except u_update and log_step. λ = inf "
      "is SGD.");
  absgd.def(
      "__init__",
      [](AbsgdRule* self, const nb::iterable& params, double lr, double momentum, double weight_decay, bool nesterov,
         double max_norm, double lambda, double gamma, double alpha, double additive, UInit u_init, bool keep_u,
         const std::string& on_non_finite) {
        new (self) AbsgdRule(groups_of(params), SgdOptions{lr, momentum, weight_decay, nesterov, max_norm});
        set_risk(*self, kl_risk(*self, lambda, gamma, alpha, additive, u_init, keep_u));
        self->set_policy(on_non_finite);
      },
      "params"_a, "lr"_a, "momentum"_a = 0.9, "weight_decay"_a = 0.0, "nesterov"_a = false, "max_norm"_a = 0.0,
      "lambda_"_a = std::numeric_limits<double>::infinity(), "gamma"_a = 0.9, "alpha"_a = 1.0, "additive"_a = 0.0,
      "u_init"_a = UInit::kFirstBatch, "keep_u"_a = false, "on_non_finite"_a = "warn");
  bind_lambda(absgd);
}

void bind_adam(nb::module_& m) {
  nb::class_<Watched<Adam>, Optimizer>(m, "Adam",
                                       "Adam as in torch.optim.Adam or, with decoupled=True, torch.optim.AdamW.")
      .def(
          "__init__",
          [](Watched<Adam>* self, const nb::iterable& params, double lr, const Betas& betas, double eps,
             double weight_decay, bool decoupled, double max_norm, const OptionalRisk& risk,
             const std::string& on_non_finite) {
            new (self) Watched<Adam>(
                groups_of(params), AdamOptions{lr, betas.first, betas.second, eps, weight_decay, decoupled, max_norm});
            choose_risk(*self, risk);
            self->set_policy(on_non_finite);
          },
          "params"_a, "lr"_a, "betas"_a = kBetas, "eps"_a = 1e-8, "weight_decay"_a = 0.0, "decoupled"_a = false,
          "max_norm"_a = 0.0, "risk"_a = nb::none(), "on_non_finite"_a = "warn");
  nb::class_<AbAdamRule, Optimizer> abadam(
      m, "ABAdam", "Adam or AdamW with KlRisk, whose arguments it takes except u_update and log_step.");
  abadam.def(
      "__init__",
      [](AbAdamRule* self, const nb::iterable& params, double lr, const Betas& betas, double eps, double weight_decay,
         bool decoupled, double max_norm, double lambda, double gamma, double alpha, double additive, UInit u_init,
         bool keep_u, const std::string& on_non_finite) {
        new (self) AbAdamRule(groups_of(params),
                              AdamOptions{lr, betas.first, betas.second, eps, weight_decay, decoupled, max_norm});
        set_risk(*self, kl_risk(*self, lambda, gamma, alpha, additive, u_init, keep_u));
        self->set_policy(on_non_finite);
      },
      "params"_a, "lr"_a, "betas"_a = kBetas, "eps"_a = 1e-8, "weight_decay"_a = 0.0, "decoupled"_a = false,
      "max_norm"_a = 0.0, "lambda_"_a = std::numeric_limits<double>::infinity(), "gamma"_a = 0.9, "alpha"_a = 1.0,
      "additive"_a = 0.0, "u_init"_a = UInit::kFirstBatch, "keep_u"_a = false, "on_non_finite"_a = "warn");
  bind_lambda(abadam);
}

void bind_schedule(nb::module_& m) {
  nb::class_<Schedule>(m, "Schedule",
                       "Learning rates by epoch, as factors of the base: kind is constant, multistep (gamma, or one of "
                       "factors, at each of milestones), step (gamma every step_size epochs) or cosine (to min_factor "
                       "after epochs); warmup epochs grow linearly. opt.lr = 0.1 * schedule.factor(epoch).")
      .def(
          "__init__",
          [](Schedule* self, const std::string& kind, int epochs, const std::vector<int>& milestones, int step_size,
             double gamma, const std::vector<double>& factors, double min_factor, int warmup) {
            new (self) Schedule({kind, epochs, milestones, step_size, gamma, factors, min_factor, warmup});
          },
          "kind"_a = "constant", "epochs"_a = 1, "milestones"_a = std::vector<int>{}, "step_size"_a = 30,
          "gamma"_a = 0.1, "factors"_a = std::vector<double>{}, "min_factor"_a = 0.0, "warmup"_a = 0)
      .def("factor", &Schedule::factor, "epoch"_a, "The factor of an epoch, counted from 0.");
}

}  // namespace

void bind_optimizers(nb::module_& m) {
  bind_optimizer(m);
  bind_sgd(m);
  bind_adam(m);
  bind_schedule(m);
}

}  // namespace fulcrum::python
