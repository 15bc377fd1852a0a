#include "apps/no_effect.h"

#include <map>
#include <set>

#include "apps/losses.h"
#include "apps/risks.h"

namespace fulcrum::apps {

namespace {

using Readers = std::map<std::string, std::set<std::string>>;

// "optim.beta1 has no effect with optim.name = sgd" where the key has readers and this is none of them.
std::string unread(const Readers& readers, const std::string& key, const std::string& by, const std::string& value) {
  const auto found = readers.find(key);
  if (found == readers.end() || found->second.contains(value)) return "";
  return key + " has no effect with " + by + " = " + value;
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
  for (const std::string& text : {no_effect_of_risk(key, config.risk.name), no_effect_of_loss(key, config.loss.name),
                                  of_class_weights(key, config.loss.class_weights), of_optim(key, config.optim.name),
                                  of_schedule(key, config.schedule)})
    if (!text.empty()) return text;
  return "";
}

}  // namespace fulcrum::apps
