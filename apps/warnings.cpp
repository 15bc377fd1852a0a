#include "apps/warnings.h"

#include <cmath>

#include <fmt/format.h>

#include "apps/data_sets.h"
#include "apps/losses.h"
#include "apps/risks.h"

namespace fulcrum::apps {

namespace {

// What would begin after the last epoch: of a recipe that was shortened.
std::vector<std::string> never_reached(const Config& c) {
  std::vector<std::string> all;
  const auto add = [&](const std::string& key, int64_t epoch, const std::string& what) {
    if (epoch >= c.train.epochs)
      all.push_back(fmt::format("{} = {}: {} in the {} epochs of this run", key, epoch, what, c.train.epochs));
  };
  if (c.risk.name != "mean") add("risk.from_epoch", c.risk.from_epoch, "the risk never begins");
  if (c.loss.class_weights != "none") add("loss.drw_epoch", c.loss.drw_epoch, "class weights never begin");
  if (c.schedule.kind == "multistep" && !c.schedule.milestones.empty())
    add("schedule.milestones", c.schedule.milestones.back(), "the learning rate does not fall there");
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
      "training has diverged: the mean loss of this epoch is {:.2g}, where guessing has {:.2f}; lower optim.lr", loss,
      guessing);
  if (config.risk.name == "kl" && std::isfinite(config.risk.lambda))
    text += fmt::format(", or raise |risk.lambda| ({:g}) or risk.gamma ({:g})", config.risk.lambda, config.risk.gamma);
  return text;
}

std::string evaluation_warning(int64_t non_finite, double loss, int64_t classes) {
  if (non_finite > 0) return fmt::format("{} test images have logits that are not finite; lower optim.lr", non_finite);
  const double guessing = std::log(static_cast<double>(classes));
  if (!(loss > 10 * guessing)) return "";
  return fmt::format("the test loss is {:.3g}, where guessing has {:.2f}; lower optim.lr", loss, guessing);
}

}  // namespace fulcrum::apps
