#include "apps/warnings.h"

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

}  // namespace fulcrum::apps
