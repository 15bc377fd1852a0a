#include "apps/warnings.h"

#include <cmath>

#include <fmt/format.h>

#include "apps/data_sets.h"
#include "apps/epoch_settings.h"
#include "apps/losses.h"
#include "apps/risks.h"

namespace fulcrum::apps {

namespace {

// Warnings about settings that would take effect only after the last epoch, as in a recipe that was shortened.
std::vector<std::string> never_reached(const Config& c) {
  std::vector<std::string> all;
  if (c.schedule.warmup >= c.train.epochs)
    all.push_back(fmt::format("schedule.warmup = {}: the learning rate only rises in the {} epochs of this run",
                              c.schedule.warmup, c.train.epochs));
  Config config = c;
  for (const EpochSetting& s : epoch_settings(config))
    if (s.active && *s.otherwise && *s.epoch >= c.train.epochs)
      all.push_back(
          fmt::format("{} = {}: {} in the {} epochs of this run", s.key, *s.epoch, s.otherwise, c.train.epochs));
  return all;
}

}  // namespace

std::vector<std::string> warnings_of(const Config& config, const std::vector<int64_t>& class_counts) {
  std::vector<std::string> all = data_warnings(config.data);
  for (auto&& more : {risk_warnings(config), loss_warnings(config.loss, class_counts), never_reached(config)})
    all.insert(all.end(), more.begin(), more.end());
  return all;
}

std::string divergence_warning(const Config& config, double loss, double before, int64_t classes) {
  const double guessing = std::log(static_cast<double>(classes)), limit = 1000 * guessing;
  if (!(loss > limit) || before > limit) return "";
  std::string text = fmt::format(
      "training has diverged: the mean loss of this epoch is {:.2g}, against {:.2f} for guessing; lower optim.lr", loss,
      guessing);
  if (config.risk.name == "kl" && std::isfinite(config.risk.lambda))
    text += fmt::format(", or raise |risk.lambda| ({:g}) or risk.gamma ({:g})", config.risk.lambda, config.risk.gamma);
  return text;
}

std::string evaluation_warning(int64_t non_finite, double loss, int64_t classes) {
  if (non_finite > 0) return fmt::format("{} test images have logits that are not finite; lower optim.lr", non_finite);
  const double guessing = std::log(static_cast<double>(classes));
  if (!(loss > 10 * guessing)) return "";
  return fmt::format("the test loss is {:.3g}, against {:.2f} for guessing; lower optim.lr", loss, guessing);
}

}  // namespace fulcrum::apps
