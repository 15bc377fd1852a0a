#include "apps/losses.h"

#include <algorithm>
#include <cmath>

#include <fulcrum/core/class_vectors.h>
#include <fulcrum/core/ops.h>

#include "apps/ranges.h"

namespace fulcrum::apps {

namespace {

bool prunes(const LossSettings& s) { return s.name == "tgce" && s.tgce_prune_epoch > 0; }

bool is_ldr(const LossSettings& s) { return s.name == "ldr-kl" || s.name == "aldr-kl"; }

// The classes without samples: "3, 7"; empty where every class has some.
std::string empty_classes(const std::vector<int64_t>& counts) {
  std::string list;
  for (size_t c = 0; c < counts.size(); c++)
    if (counts[c] == 0) list += (list.empty() ? "" : ", ") + std::to_string(c);
  return list;
}

void check_every_class(const char* key, const std::string& value, const std::vector<int64_t>& counts) {
  const std::string missing = empty_classes(counts);
  if (!missing.empty())
    usage(key, ": ", value, " expected at least 1 training image of every class, got 0 of class ", missing);
}

void check_given_weights(const LossSettings& s) {
  const std::vector<double>& given = s.given_class_weights;
  if (given.empty() && s.class_weights == "given")
    usage("loss.given_class_weights: expected a number for each class with loss.class_weights = given, got none");
  for (const double w : given) in_range("loss.given_class_weights", w, 0, kInfinity, "(0, inf)");
}

// z/max(‖z‖₂, 1e-12)^power of every row.
Tensor normed(const Tensor& logits, double power) {
  const Tensor z = logits.to(DType::kF32);
  const Tensor squares = sum(square(z), {-1}, /*keepdim=*/true);
  return z / pow(maximum(squares, 1e-24), power / 2);
}

Phi phi_of(const LossSettings& s) {
  Phi phi;
  if (s.name == "focal") phi = Phi::focal(s.focal_gamma);
  if (s.name == "gce") phi = Phi::gce(s.gce_q);
  // With pruning, hard samples are left out instead of truncated; before the first pruning this is plain GCE.
  if (s.name == "tgce") phi = prunes(s) ? Phi::gce(s.gce_q) : Phi::truncated_gce(s.gce_q, s.tgce_k);
  if (s.name == "sce") phi = Phi::sce(s.sce_a, s.sce_b);
  if (s.name == "mae") phi = Phi::mae();
  if (s.name == "js") phi = Phi::js(s.js_pi);
  phi.on_weighted = s.on_weighted;
  return phi;
}

// Applies loss.cb_max_count.
std::vector<int64_t> clipped(std::vector<int64_t> counts, int64_t most) {
  if (most > 0)
    for (int64_t& n : counts) n = std::min(n, most);
  return counts;
}

}  // namespace

bool is_for_wrong_labels(const LossSettings& s) {
  return is_ldr(s) || s.name == "gce" || s.name == "tgce" || s.name == "sce" || s.name == "mae" || s.name == "js";
}

double logit_scale(const LossSettings& s) { return s.name == "ldam" ? s.ldam_scale : 1; }

void check_loss(const LossSettings& s) {
  one_of("loss.name", s.name,
         {"ce", "focal", "gce", "tgce", "sce", "mae", "js", "ldam", "balanced-softmax", "logit-adjustment", "ldr-kl",
          "aldr-kl"});
  one_of("loss.class_weights", s.class_weights, {"none", "balanced", "given"});
  check_given_weights(s);
  in_range("loss.smoothing", s.smoothing, 0, 1, "[0, 1)");
  in_range("loss.cb_beta", s.cb_beta, 0, 1, "[0, 1)");
  count("loss.cb_max_count", s.cb_max_count, 0);
  count("loss.drw_epoch", s.drw_epoch, 0);
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
  in_range("loss.logit_norm", s.logit_norm, 0, kInfinity, "[0, inf)");
  count("loss.tgce_prune_epoch", s.tgce_prune_epoch, 0);
  count("loss.tgce_prune_every", s.tgce_prune_every, 1);
  if (s.tgce_prune_epoch > 0 && s.name != "tgce")
    usage("loss.tgce_prune_epoch: goes with loss.name = tgce, not with ", s.name);
  in_range("loss.ldr_margin", s.ldr_margin, 0, kInfinity, "[0, inf)");
  in_range("loss.ldr_lambda", s.ldr_lambda, 0, kInfinity, "(0, inf)");
  if (!(s.aldr_alpha > 1 && std::isfinite(s.aldr_alpha)))
    usage("loss.aldr_alpha: expected a number in (1, inf), got ", s.aldr_alpha);
  const bool has_phi = phi_of(s).kind != Phi::kIdentity;
  if (s.smoothing > 0 && (has_phi || is_ldr(s)))
    usage("loss.smoothing: label smoothing is defined for the cross entropy, not for loss.name = ", s.name);
  if (s.on_weighted && !has_phi)
    usage("loss.on_weighted: goes with focal, gce, tgce, sce, mae and js, not with loss.name = ", s.name);
  if (s.class_tau > 0 && is_ldr(s))
    usage("loss.class_tau: class temperatures are part of the cross entropy, not of loss.name = ", s.name);
}

std::vector<std::string> loss_warnings(const LossSettings& s, const std::vector<int64_t>& counts) {
  const std::string missing = empty_classes(counts);
  if (s.class_weights != "balanced" || missing.empty()) return {};
  return {"loss.class_weights = balanced: no training image of class " + missing + ", whose weight is 0"};
}

LossFunction::LossFunction(const LossSettings& s, const std::vector<int64_t>& counts, int64_t samples, Device device)
    : settings_(s), class_counts_(counts), device_(device) {
  if (s.name == "ldam") check_every_class("loss.name", s.name, counts);
  if (s.class_tau > 0) check_every_class("loss.class_tau", concat_text(s.class_tau), counts);
  if (s.class_weights == "given" && s.given_class_weights.size() != counts.size())
    usage("loss.given_class_weights: expected ", counts.size(), " numbers, one for each class, got ",
          s.given_class_weights.size());
  if (prunes(s)) kept_ = ones({samples}, {DType::kF32, device});
  if (s.name == "aldr-kl") lambdas_ = full({samples}, s.ldr_lambda, {DType::kF32, device});
  args_.smoothing = s.smoothing;
  args_.phi = phi_of(s);
  if (s.name == "ldam") {
    args_.margin = ldam_margins(counts, s.ldam_max_m).to(device);
    args_.scale = logit_scale(s);
  }
  if (s.name == "balanced-softmax") args_.adjust = log_prior(counts).to(device);
  if (s.name == "logit-adjustment") args_.adjust = log_prior(counts, s.tau).to(device);
  if (s.class_tau > 0) args_.temperature = class_temperatures(counts, s.class_tau).to(device);
}

void LossFunction::begin_epoch(int64_t epoch) {
  if (settings_.class_weights == "none" || epoch < settings_.drw_epoch || args_.class_weight) return;
  const std::vector<double>& given = settings_.given_class_weights;
  const Tensor weights = settings_.class_weights == "balanced"
                             ? class_balanced_weights(clipped(class_counts_, settings_.cb_max_count), settings_.cb_beta)
                             : from_vector({std::ssize(given)}, given);
  args_.class_weight = weights.to(device_);
}

Tensor LossFunction::operator()(const Tensor& logits, const Batch& batch) {
  Tensor own = (*this)(logits, batch.labels, batch.indices);
  if (!batch.share) return own;
  const Tensor other = (*this)(logits, batch.other_labels, batch.indices);
  return other + (own - other) * batch.share;
}

Tensor LossFunction::operator()(const Tensor& logits, const Tensor& labels, const Tensor& indices) {
  const Tensor z = settings_.logit_norm > 0 ? normed(logits, settings_.logit_norm) : logits;
  if (settings_.name == "ldr-kl")
    return ldr_kl_loss(z, labels, {settings_.ldr_margin, settings_.ldr_lambda, args_.class_weight});
  if (lambdas_) {
    const AldrKlArgs args{settings_.ldr_margin, settings_.ldr_lambda, settings_.aldr_alpha, args_.class_weight};
    return aldr_kl_loss(z, labels, adapt_lambdas(lambdas_, z, indices, args), args);
  }
  const Tensor losses = cross_entropy(z, labels, args_);
  return kept_ ? losses * index_select(kept_, 0, indices) : losses;
}

Tensor LossFunction::kept(const Tensor& weights, const Tensor& indices) const {
  return kept_ ? weights * index_select(kept_, 0, indices).to(weights.dtype()) : weights;
}

bool LossFunction::prunes_before(int64_t epoch) const {
  const int64_t since = epoch - settings_.tgce_prune_epoch;
  return kept_ && since >= 0 && since % settings_.tgce_prune_every == 0;
}

double LossFunction::prune(const std::vector<int64_t>& indices, const Tensor& logits,
                           const std::vector<int64_t>& labels) {
  const Tensor log_p = log_softmax(logits);
  const int64_t classes = logits.size(1);
  Tensor kept = kept_.to(Device());
  int64_t out = 0;
  for (size_t i = 0; i < indices.size(); i++) {
    const float l = log_p.data<float>()[static_cast<int64_t>(i) * classes + labels[i]];
    const bool keep = l > std::log(settings_.tgce_k);
    kept.data<float>()[indices[i]] = keep ? 1 : 0;
    out += !keep;
  }
  kept_.copy_from(kept);
  return static_cast<double>(out) / static_cast<double>(indices.size());
}

std::vector<std::pair<std::string, Tensor>> LossFunction::state() const {
  if (kept_) return {{"loss.kept", kept_}};
  if (lambdas_) return {{"loss.lambda", lambdas_}};
  return {};
}

}  // namespace fulcrum::apps
