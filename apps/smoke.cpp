#include "apps/smoke.h"

#include <algorithm>
#include <iterator>
#include <set>

namespace fulcrum::apps {

namespace {

// The epochs at which something of the schedule changes; a step schedule is spelt out.
std::vector<int64_t*> schedule_epochs(Config& c) {
  ScheduleSettings& s = c.schedule;
  if (s.kind == "step") {
    constexpr int64_t kSteps = 3;
    s.kind = "multistep";
    s.milestones.clear();
    s.factors.clear();
    for (int64_t k = 1; k <= kSteps; k++) s.milestones.push_back(k * s.step_size);
  }
  std::vector<int64_t*> epochs = {&s.warmup};
  if (s.kind == "multistep")
    for (int64_t& m : s.milestones) epochs.push_back(&m);
  return epochs;
}

}  // namespace

void shorten_for_smoke(Config& c) {
  std::vector<int64_t*> changes = schedule_epochs(c);
  if (c.loss.class_weights != "none") changes.push_back(&c.loss.drw_epoch);
  if (c.risk.name != "mean") changes.push_back(&c.risk.from_epoch);
  if (c.loss.tgce_prune_epoch > 0) changes.push_back(&c.loss.tgce_prune_epoch);
  std::set<int64_t> starts;
  for (const int64_t* epoch : changes)
    if (*epoch > 0 && *epoch < c.train.epochs) starts.insert(*epoch);
  const int64_t phases = std::ssize(starts) + 1, never = phases + 1;
  for (int64_t* epoch : changes) {
    const bool comes = *epoch < c.train.epochs;
    *epoch = comes ? std::distance(starts.begin(), starts.upper_bound(*epoch)) : never;
  }
  c.train.epochs = std::max(phases, std::min<int64_t>(c.train.epochs, 2));
  c.train.limit_batches = 2;
  c.train.eval_every = 1;
}

}  // namespace fulcrum::apps
