#include "apps/smoke.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <vector>

#include "apps/epoch_settings.h"

namespace fulcrum::apps {

namespace {

void spell_out_steps(ScheduleSettings& s) {
  if (s.kind != "step") return;
  constexpr int64_t kSteps = 3;
  s.kind = "multistep";
  s.milestones.clear();
  s.factors.clear();
  for (int64_t k = 1; k <= kSteps; k++) s.milestones.push_back(k * s.step_size);
}

}  // namespace

void shorten_for_smoke(Config& c) {
  spell_out_steps(c.schedule);
  std::vector<int64_t*> changes;
  for (const EpochSetting& s : epoch_settings(c))
    if (s.active) changes.push_back(s.epoch);
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
