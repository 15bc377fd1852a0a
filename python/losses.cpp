// Losses, one per sample: the fused cross entropy with class vectors and a φ, LDR-KL, ALDR-KL, squares, logistic.
// fulcrum/functional.py gives the published ones their names.
#include "bindings.h"
#include "integers.h"

#include <fulcrum/core/class_vectors.h>

namespace fulcrum::python {

namespace {

void bind_phi(nb::module_& m) {
  nb::class_<Phi>(m, "Phi",
                  "φ, the function that a loss applies to l = −log p, where p is the probability of the label.")
      .def_static("focal", &Phi::focal, "gamma"_a, "(1−p)^gamma · l, gamma ≥ 0.")
      .def_static("gce", &Phi::gce, "q"_a, "(1 − p^q)/q, q in (0, 1].")
      .def_static("truncated_gce", &Phi::truncated_gce, "q"_a, "k"_a,
                  "(1 − max(p, k)^q)/q, k in (0, 1): a sample with p ≤ k has no gradient.")
      .def_static("sce", &Phi::sce, "a"_a, "b"_a, "a·l + b·A·(1−p), A = −log 1e-4.")
      .def_static("mae", &Phi::mae, "2(1−p).")
      .def_static("js", &Phi::js, "pi"_a,
                  "Jensen-Shannon divergence between label and prediction, scaled; pi in (0, 1).")
      .def_rw("on_weighted", &Phi::on_weighted, "φ(w·l) instead of w·φ(l), with class weights w.");
}

void bind_cross_entropy(nb::module_& m) {
  m.def(
      "cross_entropy",
      [](const Tensor& logits, const Integers& labels, const OptionalTensor& class_weight, double smoothing,
         const OptionalTensor& adjust, const OptionalTensor& margin, double scale, const OptionalTensor& temperature,
         const Phi& phi) {
        // Class vectors are made in f32; logits in f64 take them in f64.
        const DType dtype = is_floating(logits.dtype()) ? master_dtype(logits.dtype()) : DType::kF32;
        const auto vector = [&](const OptionalTensor& t) { return t ? t->to(dtype) : Tensor(); };
        const Tensor shares = labels.as_floating(logits);
        return cross_entropy(
            logits, shares ? shares : labels.as_i64("cross_entropy", "labels", logits),
            {vector(adjust), vector(margin), scale, smoothing, vector(class_weight), vector(temperature), phi});
      },
      "logits"_a, "labels"_a, "class_weight"_a = nb::none(), "smoothing"_a = 0.0, "adjust"_a = nb::none(),
      "margin"_a = nb::none(), "scale"_a = 1.0, "temperature"_a = nb::none(), nb::arg("phi").sig("Phi()") = Phi{},
      Unlocked(),
      "φ(−log softmax(z')_y) of every sample: logits [B, C], labels [B] → [B], not averaged. Labels may also be shares of "
      "the classes, floating [B, C]; then without margin and φ.\n"
      "\n"
      "z' = scale·(z/temperature − margin_y·e_y) + adjust, with vectors f32 [C]; class_weight [C] multiplies the "
      "loss of its class; smoothing, in [0, 1), is label smoothing's ε and cannot be combined with a φ.");
}

void bind_ldr(nb::module_& m) {
  m.def(
      "ldr_kl_loss",
      [](const Tensor& logits, const Integers& labels, double margin, double lambda,
         const OptionalTensor& class_weight) {
        return ldr_kl_loss(logits, labels.as_i64("ldr_kl_loss", "labels", logits),
                           {margin, lambda, or_undefined(class_weight)});
      },
      "logits"_a, "labels"_a, "margin"_a = 2.0, "lambda_"_a = 1.0, "class_weight"_a = nb::none(), Unlocked(),
      "LDR-KL (Zhu et al. 2023): logits [B, C], labels [B] → [B], at least −λ·log C.");
  m.def(
      "aldr_kl_loss",
      [](const Tensor& logits, const Integers& labels, Tensor& table, const Integers& indices, double margin,
         double lambda0, double alpha, const OptionalTensor& class_weight) {
        const AldrKlArgs args{margin, lambda0, alpha, or_undefined(class_weight)};
        const Tensor rows = indices.as_i64("aldr_kl_loss", "indices", logits);
        return aldr_kl_loss(logits, labels.as_i64("aldr_kl_loss", "labels", logits),
                            adapt_lambdas(table, logits, rows, args), args);
      },
      "logits"_a, "labels"_a, "table"_a, "indices"_a, "margin"_a = 2.0, "lambda0"_a = 1.0, "alpha"_a = 2.0,
      "class_weight"_a = nb::none(), Unlocked(),
      "ALDR-KL (Zhu et al. 2023), with a λ for each sample in `table`, f32 [samples], initially filled with lambda0 "
      "and updated at `indices`, [B]. Logits [B, C], labels [B] → [B].");
}

void bind_regression(nb::module_& m) {
  m.def("mse_loss", &mse_loss, "x"_a, "target"_a, Unlocked(),
        "The mean over all but the first dimension of (x − target)²: [B].");
  m.def("binary_cross_entropy_with_logits", &binary_cross_entropy_with_logits, "logits"_a, "target"_a, Unlocked(),
        "The mean over all but the first dimension of the logistic loss with targets in [0, 1]: [B].");
}

void bind_class_vectors(nb::module_& m) {
  m.def("class_balanced_weights", &class_balanced_weights, "counts"_a, "beta"_a,
        "(1−β)/(1−βⁿ), scaled to the sum C (Cui et al. 2019); counts[k] training samples of class k → f32 [C].");
  m.def("log_prior", &log_prior, "counts"_a, "tau"_a = 1.0,
        "τ·log(n/Σn): what logit adjustment (Menon et al. 2021) and balanced softmax (τ = 1) add to logits; f32 [C].");
  m.def("ldam_margins", &ldam_margins, "counts"_a, "max_m"_a = 0.5, "max_m·(min n/n)^¼ (Cao et al. 2019); f32 [C].");
  m.def("class_temperatures", &class_temperatures, "counts"_a, "gamma"_a,
        "(max n/n)^γ (CDT, Ye et al. 2020); f32 [C].");
}

}  // namespace

void bind_losses(nb::module_& m) {
  bind_phi(m);
  bind_cross_entropy(m);
  bind_ldr(m);
  bind_regression(m);
  bind_class_vectors(m);
}

}  // namespace fulcrum::python
