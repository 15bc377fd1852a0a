#include "apps/epoch_settings.h"

namespace fulcrum::apps {

std::vector<EpochSetting> epoch_settings(Config& c) {
  std::vector<EpochSetting> all{
      {"risk.from_epoch", &c.risk.from_epoch, c.risk.name != "mean", "the risk never begins"},
      {"loss.drw_epoch", &c.loss.drw_epoch, c.loss.class_weights != "none", "class weights never begin"},
      {"loss.tgce_prune_epoch", &c.loss.tgce_prune_epoch, c.loss.tgce_prune_epoch > 0, "nothing is left out"},
      {"schedule.warmup", &c.schedule.warmup, true, ""},
  };
  for (int64_t& milestone : c.schedule.milestones)
    all.push_back({"schedule.milestones", &milestone, c.schedule.kind == "multistep",
                   &milestone == &c.schedule.milestones.back() ? "the learning rate does not fall there" : ""});
  return all;
}

}  // namespace fulcrum::apps
