#include "apps/losses.h"

#include <limits>

#include <fulcrum/core/class_vectors.h>

#include "apps/ranges.h"

namespace fulcrum::apps {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

Phi phi_of(const LossSettings& s) {
  Phi phi;
  if (s.name == "focal") phi = Phi::focal(s.focal_gamma);
  if (s.name == "gce") phi = Phi::gce(s.gce_q);
  if (s.name == "tgce") phi = Phi::truncated_gce(s.gce_q, s.tgce_k);
  if (s.name == "sce") phi = Phi::sce(s.sce_a, s.sce_b);
  if (s.name == "mae") phi = Phi::mae();
  if (s.name == "js") phi = Phi::js(s.js_pi);
  phi.on_weighted = s.on_weighted;
  return phi;
}

}  // namespace

void check_loss(const LossSettings& s) {
  one_of("loss.name", s.name,
         {"ce", "focal", "gce", "tgce", "sce", "mae", "js", "ldam", "balanced-softmax",
          "logit-adjustment", "ldr-kl"});
  one_of("loss.class_weights", s.class_weights, {"none", "balanced"});
  in_range("loss.smoothing", s.smoothing, 0, 1, "[0, 1)");
  in_range("loss.cb_beta", s.cb_beta, 0, 1, "[0, 1)");
  at_least("loss.drw_epoch", static_cast<double>(s.drw_epoch), 0);
  in_range("loss.focal_gamma", s.focal_gamma, 0, kInfinity, "[0, inf)");
  in_range("loss.gce_q", s.gce_q, 0, 1, "(0, 1]");
  in_range("loss.tgce_k", s.tgce_k, 0, 1, "(0, 1)");
  in_range("loss.sce_a", s.sce_a, 0, kInfinity, "[0, inf)");
  in_range("loss.sce_b", s.sce_b, 0, kInfinity, "[0, inf)");
  in_range("loss.js_pi", s.js_pi, 0, 1, "(0, 1)");
  in_range("loss.ldam_max_m", s.ldam_max_m, 0, kInfinity, "(0, inf)");
  in_range("loss.ldam_scale", s.ldam_scale, 0, kInfinity, "(0, inf)");
  in_range("loss.tau", s.tau, 0, kInfinity, "[0, inf)");
  in_range("loss.class_tau", s.class_tau, 0, kInfinity, "[0, inf)");
  in_range("loss.ldr_margin", s.ldr_margin, 0, kInfinity, "[0, inf)");
  in_range("loss.ldr_lambda", s.ldr_lambda, 0, kInfinity, "(0, inf)");
  const bool has_phi = phi_of(s).kind != Phi::kIdentity;
  if (s.smoothing > 0 && (has_phi || s.name == "ldr-kl"))
    usage("loss.smoothing: label smoothing is defined for the cross entropy, not for loss.name = ",
          s.name);
  if (s.on_weighted && !has_phi)
    usage("loss.on_weighted: goes with focal, gce, tgce, sce, mae and js, not with loss.name = ",
          s.name);
  if (s.class_tau > 0 && s.name == "ldr-kl")
    usage(
        "loss.class_tau: class temperatures are part of the cross entropy, not of loss.name = "
        "ldr-kl");
}

LossFunction::LossFunction(const LossSettings& s, const std::vector<int64_t>& counts, Device device)
    : settings_(s), class_counts_(counts), device_(device) {
  args_.smoothing = s.smoothing;
  args_.phi = phi_of(s);
  if (s.name == "ldam") {
    args_.margin = ldam_margins(counts, s.ldam_max_m).to(device);
    args_.scale = s.ldam_scale;
  }
  if (s.name == "balanced-softmax") args_.adjust = log_prior(counts).to(device);
  if (s.name == "logit-adjustment") args_.adjust = log_prior(counts, s.tau).to(device);
  if (s.class_tau > 0) args_.temperature = class_temperatures(counts, s.class_tau).to(device);
}

void LossFunction::begin_epoch(int64_t epoch) {
  if (settings_.class_weights == "balanced" && epoch >= settings_.drw_epoch && !args_.class_weight)
    args_.class_weight = class_balanced_weights(class_counts_, settings_.cb_beta).to(device_);
}

Tensor LossFunction::operator()(const Tensor& logits, const Tensor& labels) const {
  if (settings_.name == "ldr-kl")
    return ldr_kl_loss(logits, labels,
                       {settings_.ldr_margin, settings_.ldr_lambda, args_.class_weight});
  return cross_entropy(logits, labels, args_);
}

}  // namespace fulcrum::apps
