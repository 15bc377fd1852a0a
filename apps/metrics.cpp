#include "apps/metrics.h"

#include <cmath>

#include <nlohmann/json.hpp>

namespace fulcrum::apps {

bool is_better(const std::string& metric, double a, double b) {
  if (std::isnan(b)) return !std::isnan(a);
  return metric == "loss" ? a < b : a > b;
}

nlohmann::json to_json(const Metrics& m) {
  nlohmann::json row{{"top1", m.top1},         {"top5", m.top5},          {"balanced", m.balanced},
                     {"worst_class", m.worst}, {"many", m.many},          {"medium", m.medium},
                     {"few", m.few},           {"loss", m.loss},          {"macro_f1", m.macro_f1},
                     {"ece", m.ece},           {"per_class", m.per_class}};
  if (m.per_class.size() == 2) row.update({{"auroc", m.auroc}, {"auprc", m.auprc}});
  return row;
}

}  // namespace fulcrum::apps
