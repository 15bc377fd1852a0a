// fulcrum train --dry-run: the settings, the data, and what the run will cost.
#pragma once

#include "apps/config.h"
#include "apps/experiment.h"

namespace fulcrum::apps {

/// The cost of training, measured over three steps whose results are thrown away.
struct RunCost {
  double step_seconds, eval_seconds_an_image;
  size_t peak_bytes;  // without the data
};
RunCost measure_cost(const Config& config, const ExperimentData& data);

/// Seconds of the whole run, evaluations included.
double estimated_seconds(const Config& config, const ExperimentData& data, const RunCost& cost);

/// The number of images in an evaluation, as limited by train.limit_batches.
int64_t evaluated_images(const Config& config, const ExperimentData& data);

/// Prints the complete configuration as TOML to stdout, with data, model, memory and time as comments, so that the
/// output is a recipe. Measures three training steps, whose results are thrown away; writes no file. Returns the exit
/// code.
int dry_run(const Config& config);

}  // namespace fulcrum::apps
