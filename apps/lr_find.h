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
  std::vector<double> smoothed;  // exponential average of decay 0.98, without the bias of its start
  /// The smoothed loss rose to four times its minimum, or a number was not finite.
  bool diverged = false;
};

/// The model, on its device, is trained by the optimiser, risk and loss of `config`; its weights are
/// of no use afterwards. An epoch that ends is followed by the next. A signal ends the test.
LrCurve lr_range_test(const Config& config, const ExperimentData& data, Module& model, const LrFindOptions& options);

/// What suggestions look at: without the first tenth of the steps and the last five.
LrCurve lr_core(const LrCurve& curve, int64_t steps);

/// The middle of the middle third of the longest falling subsequence: the default of fastai. The
/// suggestions are nothing for curves too short for them.
std::optional<double> lr_valley(const LrCurve& core);
/// Before the loss turns: the slopes at the ends of an interval of 15 steps, slid down from the right
/// end, differ by at most 0.005.
std::optional<double> lr_slide(const LrCurve& core);
/// A tenth of where the loss is least.
std::optional<double> lr_minimum(const LrCurve& core);
/// Where the loss falls fastest over log lr.
std::optional<double> lr_steep(const LrCurve& core);

}  // namespace fulcrum::apps
