// The risks: how the losses of a batch become the weights of its samples. A class in Python may derive from Risk.
#include "bindings.h"
#include "integers.h"

#include <algorithm>

#include <nanobind/trampoline.h>

#include <fulcrum/core/autograd.h>
#include <fulcrum/optim/risks.h>

namespace fulcrum::python {

namespace {

// A risk class written in Python: def weights(self, losses, indices, groups) and, for what lasts from step to step, def
// state(self).
class PythonRisk : public Risk {
 public:
  NB_TRAMPOLINE(Risk);
  explicit PythonRisk(const std::string& device) : Risk(Device(device)) {}
  const char* name() const override { return "python"; }

  Tensor weights(const Tensor& losses, const BatchContext& context) override {
    const nb::gil_scoped_acquire acquire;
    const nb::detail::ticket ticket(nb_trampoline, "weights", nb::detail::str_hash("weights"), /*pure=*/false);
    if (!ticket.key.is_valid()) lacks_weights();
    const nb::object result =
        nb_trampoline.base().attr(ticket.key)(losses, or_none(context.indices), or_none(context.groups));
    const Tensor p = as_tensor(result, losses).detach();
    check(p.shape() == losses.shape() && p.dtype() == losses.dtype(), "[risk] expected weights ", losses.dtype(), " ",
          losses.shape(), " from a risk written in Python, got ", p.dtype(), " ", p.shape());
    check_not_negative(p);
    add_to_summary(p);
    return p;
  }

  std::map<std::string, Tensor> state() override {
    const nb::gil_scoped_acquire acquire;
    const nb::detail::ticket ticket(nb_trampoline, "state", nb::detail::str_hash("state"), /*pure=*/false);
    std::map<std::string, Tensor> all = Risk::state();
    if (!ticket.key.is_valid()) return all;
    const nb::object own = nb_trampoline.base().attr(ticket.key)();
    check(nb::isinstance<nb::dict>(own), "[risk] expected a dictionary from state() of ", type_name(), ", got ",
          nb::inst_name(own).c_str());
    for (const auto& [key, value] : nb::cast<nb::dict>(own)) {
      check(nb::isinstance<nb::str>(key), "[risk] expected names in state() of ", type_name(), ", got ",
            nb::repr(key).c_str());
      const auto name = nb::cast<std::string>(key);
      const Tensor tensor = live_tensor(name, nb::borrow(value));
      const auto [entry, is_new] = all.emplace(name, tensor);
      check(is_new || entry->second.raw() == tensor.raw(), "[risk] '", name, "' in state() of ", type_name(),
            " is a name of Risk's own; take another");
    }
    return all;
  }

  [[noreturn]] void lacks_weights() const {
    const nb::gil_scoped_acquire acquire;
    fail("[risk] expected ", type_name(), " to define weights(self, losses, indices, groups), which returns p [B]");
  }

 private:
  // On the CPU, where looking costs little. NaN may follow from a loss that is not finite, and stops the optimiser.
  void check_not_negative(const Tensor& p) const {
    if (!p.device().is_cpu()) return;
    const auto numbers = p.to_vector();
    const auto found = std::ranges::find_if(numbers, [](double w) { return w < 0; });
    if (found != numbers.end())
      fail("[risk] expected weights of at least 0 from ", type_name(), ", got ", *found, " for sample ",
           found - numbers.begin(), " of the batch, whose loss would be maximised");
  }

  std::string type_name() const { return nb::inst_name(nb_trampoline.base()).c_str(); }

  // An array is converted, as its dtype is whatever NumPy makes of the losses; a tensor is not, as its dtype was
  // chosen.
  Tensor as_tensor(const nb::object& p, const Tensor& losses) const {
    if (nb::isinstance<Tensor>(p)) return nb::cast<Tensor>(p);
    check(nb::hasattr(p, "__array__"), "[risk] expected weights from ", type_name(), ", a tensor or an array [B], got ",
          nb::inst_name(p).c_str());
    const auto copy = nb::cast<Tensor>(nb::module_::import_("fulcrum").attr("tensor")(p));
    return copy.to(losses.dtype()).to(losses.device());
  }

  // Shares an array's memory, so that a loaded state is written to the array.
  Tensor live_tensor(const std::string& name, const nb::object& value) const {
    if (nb::isinstance<Tensor>(value)) return nb::cast<Tensor>(value);
    check(nb::hasattr(value, "__array__"), "[risk] expected a tensor or an array as '", name, "' in state() of ",
          type_name(), ", got ", nb::inst_name(value).c_str());
    return nb::cast<Tensor>(nb::module_::import_("fulcrum").attr("from_dlpack")(value));
  }
};

BatchContext context_of(const Tensor& losses, const OptionalIntegers& indices, const OptionalIntegers& groups) {
  BatchContext context{as_i64(indices, "risk", "indices", losses), as_i64(groups, "risk", "groups", losses)};
  check_context("risk", losses, context);
  return context;
}

void bind_base(nb::module_& m) {
  nb::class_<RiskSummary>(m, "RiskSummary", "Averages over the steps since the last reset.")
      .def_ro("log_mean_exp", &RiskSummary::log_mean_exp, "log mean exp(l/λ); 0 if λ = ±∞.")
      .def_ro("weight_sum", &RiskSummary::weight_sum, "Σ p.")
      .def_ro("effective_fraction", &RiskSummary::effective_fraction,
              "(Σ p)² / (B Σ p²): 1 for equal weights, 1/B for one sample.")
      .def_ro("steps", &RiskSummary::steps);
  nb::class_<Risk, PythonRisk>(
      m, "Risk",
      "How the losses of a batch become the weights of its samples. A class of your own defines weights(self, "
      "losses, indices, groups) and returns p, [B] in the losses' dtype or an array, finite and not negative (on the CPU, "
      "negative ones are refused); indices and groups are i64 [B] or None.")
      .def(nb::init<const std::string&>(), "device"_a = "cpu")
      .def_prop_ro("name", &Risk::name)
      .def(
          "weights",
          [](Risk& risk, const Tensor& losses, const OptionalIntegers& indices, const OptionalIntegers& groups) {
            // A PythonRisk gets here only if its class has no weights(), or called super().weights(…).
            if (auto* python = dynamic_cast<PythonRisk*>(&risk)) python->lacks_weights();
            return risk.weights(losses.detach(), context_of(losses, indices, groups));
          },
          "losses"_a, "indices"_a = nb::none(), "groups"_a = nb::none(), Unlocked(),
          "The weights p of losses [B], f32 or f64, without gradient; advances the risk's state by one step. If a loss is not "
          "finite, all weights are 0 and the state stays (MeanRisk does not look)."
          " indices and groups are integers [B].")
      .def(
          "_checked_weights",
          [](Risk& risk, const Tensor& losses, const OptionalIntegers& indices, const OptionalIntegers& groups) {
            return risk.weights(losses.detach(), context_of(losses, indices, groups));
          },
          "losses"_a, "indices"_a.none(), "groups"_a.none(), Unlocked(),
          "The weights as an optimiser gets them: those of a class in Python are converted to a tensor, checked and "
          "counted.")
      .def(
          "state",
          // On a PythonRisk this is super().state(), which must not call the class's state() again.
          [](Risk& risk) { return dynamic_cast<PythonRisk*>(&risk) ? risk.Risk::state() : risk.state(); },
          "The tensors that a checkpoint must hold, live; Optimizer.state_dict() has them as 'risk.…'. A class of "
          "your own adds its tensors or arrays: `return {**super().state(), 'memory': self.memory}`.")
      .def("state_dict", &Risk::state_dict, Unlocked(),
           "A copy of the state on the CPU, to save where no optimiser's state_dict() has it.")
      .def(
          "load_state_dict", &Risk::load_state_dict, "state"_a, Unlocked(),
          "Goes on from a state_dict(). Raises Error, and changes nothing, if a tensor is missing, unexpected or of another "
          "shape.")
      .def(
          "__reduce__",
          [](const Risk&) -> nb::tuple {
            fail("[copy] a risk has no copy; load its state_dict() into another risk of its kind");
          },
          nb::sig("def __reduce__(self) -> tuple"))
      .def("summary", &Risk::summary, Unlocked(), "Statistics of the weights since the last reset.")
      .def("reset_summary", &Risk::reset_summary);
}

void bind_kl(nb::module_& m) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  nb::enum_<UInit>(m, "UInit", "How u begins: from the first batch, or from 0.")
      .value("first_batch", UInit::kFirstBatch)
      .value("zero", UInit::kZero);
  nb::enum_<UUpdate>(m, "UUpdate", "How u moves: the moving average of ABSGD, or SCENT's proximal mirror descent.")
      .value("moving_average", UUpdate::kMovingAverage)
      .value("scent", UUpdate::kScent);
  nb::class_<KlRisk, Risk>(
      m, "KlRisk", nb::is_final(),
      "ABSGD's weights, p = exp(l/λ)/(B·u) with u ← (1−γ)·u + γ·α·mean exp(l/λ) (Qi et al. 2023, algorithm 1). λ > 0 "
      "emphasises large losses (imbalance), λ < 0 small ones (noise); ±∞ is the mean.")
      .def(
          "__init__",
          [](KlRisk* self, double lambda, double gamma, double alpha, double additive, UInit u_init, bool keep_u,
             UUpdate u_update, double log_step, const std::string& device) {
            new (self) KlRisk({lambda, gamma, alpha, additive, u_init, keep_u, u_update, log_step}, Device(device));
          },
          "lambda_"_a = kInfinity, "gamma"_a = 0.9, "alpha"_a = 1.0, "additive"_a = 0.0,
          "u_init"_a = UInit::kFirstBatch, "keep_u"_a = false, "u_update"_a = UUpdate::kMovingAverage,
          "log_step"_a = 10.0, "device"_a = "cpu")
      .def_prop_rw("lambda_", &KlRisk::lambda, &KlRisk::set_lambda,
                   "λ; a new value applies from the next batch on, and u restarts unless keep_u.")
      .def("set_gamma", &KlRisk::set_gamma, "gamma"_a)
      .def_prop_ro("log_u", &KlRisk::log_u, "−inf before the first batch.");
  m.def(
      "TiltedRisk",
      [](double lambda, const std::string& device) {
        return std::make_shared<KlRisk>(KlRiskOptions{.lambda = lambda, .gamma = 1}, Device(device));
      },
      "lambda_"_a, "device"_a = "cpu",
      "Tilted empirical risk (Li et al. 2021, t = 1/λ): KlRisk with γ = 1, so that u is the batch's own.");
  nb::class_<KlBallRisk, Risk>(m, "KlBallRisk", nb::is_final(),
                               "ABSGD's weights with λ solved for on a window of recent losses: KL(p‖1/n) = rho, or "
                               "(Σp)²/(n Σp²) = fraction; exactly one of the two.")
      .def(
          "__init__",
          [](KlBallRisk* self, double rho, double fraction, bool positive, int64_t window, int64_t every,
             const std::string& device) {
            new (self) KlBallRisk({rho, fraction, positive, window, every}, Device(device));
          },
          "rho"_a = 0.0, "fraction"_a = 0.0, "positive"_a = true, "window"_a = 4096, "every"_a = 10, "device"_a = "cpu")
      .def_prop_ro("lambda_", &KlBallRisk::lambda, "The λ last solved for; ±inf if all losses of the window are equal.")
      .def_prop_ro("log_u", &KlBallRisk::log_u);
}

void bind_others(nb::module_& m) {
  nb::class_<MeanRisk, Risk>(m, "MeanRisk", nb::is_final(),
                             "p = 1/B; with class weights f32 [C] that the losses already carry, Σ w l / Σ w (needs "
                             "groups, the classes).")
      .def(
          "__init__",
          [](MeanRisk* self, const OptionalTensor& class_weight, const std::string& device) {
            new (self) MeanRisk({or_undefined(class_weight)}, Device(device));
          },
          "class_weight"_a = nb::none(), "device"_a = "cpu")
      .def(
          "set_class_weight", [](MeanRisk& risk, const OptionalTensor& w) { risk.set_class_weight(or_undefined(w)); },
          "class_weight"_a.none());
  nb::class_<CvarRisk, Risk>(
      m, "CvarRisk", nb::is_final(),
      "Conditional value at risk: the mean of the largest losses, a share `level` in (0, 1] of the "
      "batch (Levy et al. 2020).")
      .def(
          "__init__",
          [](CvarRisk* self, double level, const std::string& device) { new (self) CvarRisk(level, Device(device)); },
          "level"_a, "device"_a = "cpu");
  nb::class_<Chi2Risk, Risk>(m, "Chi2Risk", nb::is_final(),
                             "The worst weights with ½·mean((Bp−1)²) ≤ rho (Levy et al. 2020).")
      .def(
          "__init__",
          [](Chi2Risk* self, double rho, const std::string& device) { new (self) Chi2Risk(rho, Device(device)); },
          "rho"_a, "device"_a = "cpu");
  nb::class_<RgdRisk, Risk>(m, "RgdRisk", nb::is_final(),
                            "p = exp(min(l, τ)/(τ+1))/B, not normalised (Kumar et al. 2023).")
      .def(
          "__init__",
          [](RgdRisk* self, double tau, const std::string& device) { new (self) RgdRisk(tau, Device(device)); },
          "tau"_a, "device"_a = "cpu");
  nb::class_<GroupRisk, Risk>(m, "GroupRisk", nb::is_final(),
                              "Group DRO (Sagawa et al. 2020); needs groups. eta: step of the exponentiated gradient; "
                              "adjustment: C of the adjusted loss L_g + C/√n_g, with n_g in counts.")
      .def(
          "__init__",
          [](GroupRisk* self, int64_t groups, double eta, double adjustment, const std::vector<int64_t>& counts,
             const std::string& device) {
            new (self) GroupRisk({groups, eta, adjustment, counts}, Device(device));
          },
          "groups"_a, "eta"_a = 0.01, "adjustment"_a = 0.0, "counts"_a = std::vector<int64_t>(), "device"_a = "cpu")
      .def_prop_ro("group_weights", &GroupRisk::group_weights, "The weight q of every group.");
}

}  // namespace

void bind_risks(nb::module_& m) {
  bind_base(m);
  bind_kl(m);
  bind_others(m);
}

}  // namespace fulcrum::python
