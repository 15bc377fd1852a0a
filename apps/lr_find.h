// The learning rate range test: a mock training in which the learning rate rises exponentially from
// step to step, and what its losses suggest.
//
//   const LrCurve curve = lr_range_test(config, data, *model, {.steps = 100});
//   if (auto lr = lr_valley(curve)) …
//
// Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017, §3.3. Smoothing, the
// rule that stops and the four suggestions are those of fastai's lr_find
// (https://docs.fast.ai/callback.schedule.html#lr_find).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "apps/config.h"
#include "apps/experiment.h"

namespace fulcrum::apps {

struct LrFindOptions {
  double start = 1e-7, end = 10;
  int64_t steps = 100;
};

/// One entry a step, up to the one that ended the test.
struct LrCurve {
  std::vector<double> lr;
  std::vector<double> loss;      // mean over the batch, without weights
  std::vector<double> smoothed;  // exponential average with decay 0.98, bias-corrected
  /// The smoothed loss rose to four times its minimum, or a number was not finite.
  bool diverged = false;
};

/// Trains `model`, which is on its device, with the optimiser, risk and loss of `config`; its weights are useless
/// afterwards. Runs as many epochs as the steps need. A signal ends the test.
LrCurve lr_range_test(const Config& config, const ExperimentData& data, Module& model, const LrFindOptions& options);

/// The part of the curve that suggestions use: without the first tenth of the steps and the last five.
LrCurve lr_core(const LrCurve& curve, int64_t steps);

/// The middle of the middle third of the longest falling subsequence: fastai's default. All suggestions are empty if
/// the curve is too short for them.
std::optional<double> lr_valley(const LrCurve& core);
/// The learning rate before the loss turns. An interval of 15 steps slides down from the right end until the slopes at
/// its ends differ by at most 0.005.
std::optional<double> lr_slide(const LrCurve& core);
/// A tenth of the learning rate at the least loss.
std::optional<double> lr_minimum(const LrCurve& core);
/// The learning rate at which the loss falls fastest over log lr.
std::optional<double> lr_steep(const LrCurve& core);

}  // namespace fulcrum::apps
