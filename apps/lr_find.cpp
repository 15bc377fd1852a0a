#include "apps/lr_find.h"

#include <algorithm>
#include <cmath>

#include "apps/losses.h"
#include "apps/risks.h"
#include "apps/stop.h"

namespace fulcrum::apps {

namespace {

constexpr double kDecay = 0.98, kDivergence = 4;

// Adds the loss of a step; returns whether the test continues.
bool add_step(LrCurve& curve, double lr, double loss, double& average) {
  const auto steps = static_cast<double>(curve.lr.size() + 1);
  average = kDecay * average + (1 - kDecay) * loss;
  const double smoothed = average / (1 - std::pow(kDecay, steps));
  curve.diverged = !std::isfinite(loss);
  if (curve.diverged) return false;
  curve.lr.push_back(lr);
  curve.loss.push_back(loss);
  curve.smoothed.push_back(smoothed);
  curve.diverged = smoothed > kDivergence * *std::ranges::min_element(curve.smoothed);
  return !curve.diverged;
}

}  // namespace

LrCurve lr_range_test(const Config& config, const ExperimentData& data, Module& model, const LrFindOptions& options) {
  const auto optimizer = make_optimizer(config, model, data.class_counts);
  LossFunction loss(config.loss, data.class_counts, data.train->size(), Device(config.train.device));
  loss.begin_epoch(0);
  begin_risk_epoch(optimizer->risk(), config, 0, loss.class_weight());
  const Loader loader = make_train_loader(config, data);
  const double growth =
      std::log(options.end / options.start) / static_cast<double>(std::max<int64_t>(options.steps - 1, 1));
  const auto group = static_cast<double>(config.train.accumulate);
  LrCurve curve;
  double average = 0, group_loss = 0;
  int64_t batches = 0;
  for (int64_t epoch = 0;; epoch++) {
    for (const Batch& batch : loader.epoch(epoch)) {
      if (stop_signal != 0) return curve;
      const Tensor losses = loss(model(batch.images), batch);
      if (batches % config.train.accumulate == 0) optimizer->zero_grad();
      (optimizer->weigh(losses, {batch.indices, batch.groups}) / group).backward();
      group_loss += mean(losses.detach()).item() / group;
      if (++batches % config.train.accumulate != 0) continue;
      const auto step = std::ssize(curve.lr);
      const double lr = options.start * std::exp(growth * static_cast<double>(step));
      optimizer->set_lr(lr);
      optimizer->step();
      if (!add_step(curve, lr, optimizer->finite() ? group_loss : std::nan(""), average)) return curve;
      if (step + 1 == options.steps) return curve;
      group_loss = 0;
    }
  }
}

LrCurve lr_core(const LrCurve& curve, int64_t steps) {
  constexpr int64_t kLast = 5;
  const int64_t begin = std::min<int64_t>(steps / 10, std::ssize(curve.lr));
  const int64_t end = std::max(begin, std::ssize(curve.lr) - kLast);
  const auto part = [&](const std::vector<double>& v) {
    return std::vector<double>(v.begin() + begin, v.begin() + end);
  };
  return {part(curve.lr), part(curve.loss), part(curve.smoothed), curve.diverged};
}

std::optional<double> lr_valley(const LrCurve& core) {
  const auto& losses = core.smoothed;
  const auto n = std::ssize(losses);
  if (n < 2) return std::nullopt;
  // length[i]: length of the longest falling subsequence that ends at i.
  std::vector<int64_t> length(losses.size(), 1);
  const auto at = [](int64_t i) { return static_cast<size_t>(i); };
  int64_t first = 0, last = 0;
  for (int64_t i = 1; i < n; i++)
    for (int64_t j = 0; j < i; j++) {
      if (losses[at(i)] < losses[at(j)]) length[at(i)] = std::max(length[at(i)], length[at(j)] + 1);
      if (length[at(i)] > length[at(last)]) {
        last = i;
        first = last - length[at(last)];
      }
    }
  const double third = static_cast<double>(last - first) / 3;
  const int64_t middle = first + static_cast<int64_t>(third) + static_cast<int64_t>(third / 2);
  return core.lr[at(std::max<int64_t>(middle, 0))];
}

std::optional<double> lr_slide(const LrCurve& core) {
  constexpr int64_t kWidth = 15;
  constexpr double kThreshold = 0.005;
  const auto& y = core.smoothed;
  const auto n = std::ssize(y);
  if (n <= kWidth) return std::nullopt;
  const auto slope = [&](int64_t i) {
    const int64_t before = std::max<int64_t>(i - 1, 0), after = std::min(i + 1, n - 1);
    return (y[static_cast<size_t>(after)] - y[static_cast<size_t>(before)]) / static_cast<double>(after - before);
  };
  int64_t left = n - 1 - kWidth;
  double lr = core.lr[static_cast<size_t>(left)];
  for (; left >= 0 && std::abs(slope(left + kWidth) - slope(left)) > kThreshold; left--)
    lr = core.lr[static_cast<size_t>(left)];
  return lr;
}

std::optional<double> lr_minimum(const LrCurve& core) {
  if (core.lr.empty()) return std::nullopt;
  const auto least = std::ranges::min_element(core.smoothed) - core.smoothed.begin();
  return core.lr[static_cast<size_t>(least)] / 10;
}

std::optional<double> lr_steep(const LrCurve& core) {
  std::optional<double> steepest;
  double least = std::numeric_limits<double>::infinity();
  for (size_t i = 0; i + 1 < core.lr.size(); i++) {
    const double slope = (core.smoothed[i + 1] - core.smoothed[i]) / std::log(core.lr[i + 1] / core.lr[i]);
    if (slope < least) {
      least = slope;
      steepest = core.lr[i];
    }
  }
  return steepest;
}

}  // namespace fulcrum::apps
