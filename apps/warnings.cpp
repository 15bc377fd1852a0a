#include "apps/warnings.h"

#include <cmath>

#include <fmt/format.h>

#include "apps/data_sets.h"
#include "apps/losses.h"
#include "apps/risks.h"

namespace fulcrum::apps {

std::vector<std::string> warnings_of(const Config& config, const std::vector<int64_t>& class_counts) {
  std::vector<std::string> all = data_warnings(config.data);
  for (auto&& more : {risk_warnings(config), loss_warnings(config.loss, class_counts)})
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

}  // namespace fulcrum::apps
