#include "apps/no_effect.h"

#include <map>
#include <set>

namespace fulcrum::apps {

namespace {

using Readers = std::map<std::string, std::set<std::string>>;

// "optim.beta1 has no effect with optim.name = sgd" where the key has readers and this is none of them.
std::string unread(const Readers& readers, const std::string& key, const std::string& by, const std::string& value) {
  const auto found = readers.find(key);
  if (found == readers.end() || found->second.contains(value)) return "";
  return key + " has no effect with " + by + " = " + value;
}

// Without a risk, plain SGD, it says which flags would give it one.
std::string of_risk(const std::string& key, const std::string& risk) {
  static const Readers readers = {{"risk.normalize", {"mean"}},
                                  {"risk.lambda", {"kl"}},
                                  {"risk.gamma", {"kl"}},
                                  {"risk.alpha", {"kl"}},
                                  {"risk.additive", {"kl"}},
                                  {"risk.u_init", {"kl"}},
                                  {"risk.keep_u", {"kl"}},
                                  {"risk.u_update", {"kl"}},
                                  {"risk.log_step", {"kl"}},
                                  {"risk.anneal_gamma", {"kl"}},
                                  {"risk.cvar_level", {"cvar"}},
                                  {"risk.rho", {"chi2", "kl_ball"}},
                                  {"risk.tau", {"rgd"}},
                                  {"risk.eta", {"group"}},
                                  {"risk.group_adjustment", {"group"}},
                                  {"risk.target_fraction", {"kl_ball"}},
                                  {"risk.sign", {"kl_ball"}},
                                  {"risk.window", {"kl_ball"}},
                                  {"risk.solve_every", {"kl_ball"}}};
  const auto found = readers.find(key);
  const bool reads = found != readers.end() ? found->second.contains(risk)
                                            : risk != "mean" || !key.starts_with("risk.") || key == "risk.name";
  if (reads) return "";
  return key + " has no effect with risk.name = " + risk + (risk == "mean" ? "; give --risk or --opt absgd" : "");
}

std::string of_loss(const std::string& key, const std::string& name) {
  static const Readers readers = {{"loss.focal_gamma", {"focal"}},
                                  {"loss.gce_q", {"gce", "tgce"}},
                                  {"loss.tgce_k", {"tgce"}},
                                  {"loss.tgce_prune_every", {"tgce"}},
                                  {"loss.sce_a", {"sce"}},
                                  {"loss.sce_b", {"sce"}},
                                  {"loss.js_pi", {"js"}},
                                  {"loss.ldam_max_m", {"ldam"}},
                                  {"loss.ldam_scale", {"ldam"}},
                                  {"loss.tau", {"logit-adjustment"}},
                                  {"loss.ldr_margin", {"ldr-kl", "aldr-kl"}},
                                  {"loss.ldr_lambda", {"ldr-kl", "aldr-kl"}},
                                  {"loss.aldr_alpha", {"aldr-kl"}}};
  return unread(readers, key, "loss.name", name);
}

std::string of_class_weights(const std::string& key, const std::string& kind) {
  static const Readers readers = {{"loss.cb_beta", {"balanced"}},
                                  {"loss.cb_max_count", {"balanced"}},
                                  {"loss.given_class_weights", {"given"}},
                                  {"loss.drw_epoch", {"balanced", "given"}}};
  return unread(readers, key, "loss.class_weights", kind);
}

std::string of_optim(const std::string& key, const std::string& name) {
  const std::set<std::string> adams = {"adam", "adamw"};
  static const Readers readers = {{"optim.momentum", {"sgd"}},
                                  {"optim.nesterov", {"sgd"}},
                                  {"optim.beta1", adams},
                                  {"optim.beta2", adams},
                                  {"optim.eps", adams}};
  return unread(readers, key, "optim.name", name);
}

std::string of_schedule(const std::string& key, const ScheduleSettings& s) {
  static const Readers readers = {{"schedule.milestones", {"multistep"}},
                                  {"schedule.factors", {"multistep"}},
                                  {"schedule.gamma", {"multistep", "step"}},
                                  {"schedule.step_size", {"step"}},
                                  {"schedule.min_factor", {"cosine"}}};
  if (key == "schedule.gamma" && s.kind == "multistep" && s.milestones.empty())
    return "schedule.gamma has no effect with schedule.milestones = []";
  if (key == "schedule.gamma" && s.kind == "multistep" && !s.factors.empty())
    return "schedule.gamma has no effect beside schedule.factors";
  return unread(readers, key, "schedule.kind", s.kind);
}

}  // namespace

std::string no_effect(const std::string& key, const Config& config) {
  for (const std::string& text : {of_risk(key, config.risk.name), of_loss(key, config.loss.name),
                                  of_class_weights(key, config.loss.class_weights), of_optim(key, config.optim.name),
                                  of_schedule(key, config.schedule)})
    if (!text.empty()) return text;
  return "";
}

}  // namespace fulcrum::apps
