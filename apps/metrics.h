// What the program does with metrics: compares them, and writes them as JSON.
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

#include <fulcrum/data/metrics.h>

namespace fulcrum::apps {

/// Whether `a` is better than `b` by this train.eval_metric: lower for loss, higher for the others; any number beats
/// NaN.
bool is_better(const std::string& metric, double a, double b);

/// Has auroc and auprc only for two classes. NaN becomes null when the JSON is written.
nlohmann::json to_json(const Metrics& metrics);

}  // namespace fulcrum::apps
