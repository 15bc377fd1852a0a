// fulcrum train --dry-run: the settings, the data, and what the run will cost.
#pragma once

#include "apps/config.h"
#include "apps/experiment.h"

namespace fulcrum::apps {

/// What training costs, from three steps that are done and thrown away.
struct RunCost {
  double step_seconds, eval_seconds_an_image;
  size_t peak_bytes;  // beside the data
};
RunCost measure_cost(const Config& config, const ExperimentData& data);

/// Of the whole run, evaluations included.
double estimated_seconds(const Config& config, const ExperimentData& data, const RunCost& cost);

/// Images of an evaluation, as train.limit_batches leaves them.
int64_t evaluated_images(const Config& config, const ExperimentData& data);

/// Prints the complete configuration as TOML to stdout, with data, model, memory and time as
/// comments, so that the output is a recipe. Three training steps are done and thrown away to
/// measure; no file is written. Returns the exit code.
int dry_run(const Config& config);

}  // namespace fulcrum::apps
