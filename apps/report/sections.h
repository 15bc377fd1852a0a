// The sections of the report, as HTML. Each leaves out what the run lacks, with a note that says why.
//
//   std::string body = run_header(run) + results_section(run) + course_section(run) + …;
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "apps/report/charts.h"
#include "apps/report/data.h"

namespace fulcrum::apps {

// ---- one run ----

/// Title, what was trained, the main figures: run.cpp.
std::string run_header(const RunData& run);
/// Final and best metrics.
std::string results_section(const RunData& run);
/// The accuracy curves, which are shown beside the table of results: course.cpp.
std::string accuracy_figure(const RunData& run);
/// Loss, classes by size, learning rate, speed by epoch.
std::string course_section(const RunData& run);
/// Settings that are not the default, all settings, the environment.
std::string settings_section(const RunData& run);
/// What the risk did: effective fraction, weight sum, log u, weight by class.
std::string weights_section(const RunData& run);
/// Accuracy by class, confusion, calibration.
std::string classes_section(const RunData& run);
/// Weights against losses, wrong labels, images with extreme weights.
std::string samples_section(const RunData& run);

// ---- several ----

/// The whole comparison.
std::string comparison(const std::vector<RunData>& runs);

// ---- shared ----

/// A number of an epoch; NaN if it has none.
using EpochValue = std::function<double(const EpochRow&)>;
/// The value of a metric on the test set.
EpochValue test_value(double EpochMetrics::*metric);
/// The points (epoch from 1, value); shares in percent. Tooltips begin with `name`.
std::vector<Point> epoch_points(const RunData& run, const std::string& name, bool share, const EpochValue& value);
/// A value over the epochs as a line, labelled with its name and last value.
Series epoch_series(const RunData& run, const std::string& name, const std::string& colour, bool share,
                    const EpochValue& value, bool dashed = false);

/// (key, value, help) of every setting, the value as config.toml has it but without quotes.
struct Setting {
  std::string key, value, help;
};
std::vector<Setting> settings_of(const Config& config);
/// "ABSGD's weights, λ = 5, γ = 0.9".
std::string risk_text(const RiskSettings& risk);
/// "epoch 12 of 200", or "200 epochs" of a finished run.
std::string epochs_text(const RunData& run);

}  // namespace fulcrum::apps
