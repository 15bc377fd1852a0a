// The curves of one run: accuracy, loss, learning rate, speed.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "apps/report/page.h"
#include "apps/report/sections.h"
#include "apps/report/text.h"

namespace fulcrum::apps {

namespace {

Figure losses_figure(const RunData& run) {
  const auto train = [](const EpochRow& r) { return r.train_loss; };
  const auto objective = [](const EpochRow& r) { return r.objective; };
  LineChart chart{.description = "Loss by epoch", .x_name = "epoch", .y_name = "loss"};
  chart.series = {epoch_series(run, "train", "var(--s8)", false, train, true),
                  epoch_series(run, "test", "var(--s1)", false, test_value(&EpochMetrics::loss)),
                  epoch_series(run, "weighted", "var(--s2)", false, objective)};
  chart.series.push_back(
      epoch_series(run, "val", "var(--s4)", false, [](const EpochRow& r) { return r.val ? r.val->loss : kAbsent; }));
  chart.series.push_back(epoch_series(
      run, "risk", "var(--s5)", false, [](const EpochRow& r) { return r.kl_objective; }, true));
  Range all;
  for (const Series& s : chart.series)
    for (const Point& p : s.points) all.add(p.y);
  chart.y.log = all.low > 0 && all.high > 30 * all.low;
  const LossSettings& loss = run.config.loss;
  const bool plain = loss.name == "ce" && loss.class_weights == "none" && loss.smoothing == 0;
  std::string caption = plain ? "Cross entropy, the mean over the samples"
                              : "Means over the samples: train is " + loss.name +
                                    (loss.class_weights == "none" ? "" : " with class weights") +
                                    ", test is plain cross entropy";
  caption += "; weighted: Σ p·l, which a step minimises";
  if (!chart.series.back().points.empty()) caption += "; risk: λ log mean exp(l/λ), which ABSGD minimises overall";
  return {"Loss", line_chart(chart), caption + "."};
}

}  // namespace

EpochValue test_value(double EpochMetrics::*metric) {
  return [metric](const EpochRow& row) { return row.test ? (*row.test).*metric : kAbsent; };
}

std::vector<Point> epoch_points(const RunData& run, const std::string& name, bool share, const EpochValue& value) {
  std::vector<Point> points;
  for (const EpochRow& row : run.epochs) {
    const double v = value(row);
    if (std::isnan(v)) continue;
    points.push_back(
        {static_cast<double>(row.epoch + 1), share ? 100 * v : v,
         fmt::format("{}, epoch {}: {}", name, row.epoch + 1, share ? percent(v) + " %" : significant(v))});
  }
  return points;
}

Series epoch_series(const RunData& run, const std::string& name, const std::string& colour, bool share,
                    const EpochValue& value, bool dashed) {
  Series s{name, colour, epoch_points(run, name, share, value), dashed};
  if (!s.points.empty()) s.name += " " + (share ? decimal(s.points.back().y, 1) : significant(s.points.back().y, 3));
  return s;
}

std::string accuracy_figure(const RunData& run) {
  LineChart accuracy{.description = "Accuracy by epoch", .x_name = "epoch", .y_name = "accuracy, %"};
  accuracy.y = {.least = 0, .most = 100};
  accuracy.series = {epoch_series(
                         run, "train", "var(--s8)", true, [](const EpochRow& r) { return r.train_top1; }, true),
                     epoch_series(run, "test", "var(--s1)", true, test_value(&EpochMetrics::top1))};
  // On a test set of equal classes the two are one line.
  const bool two = std::ranges::any_of(
      run.epochs, [](const EpochRow& r) { return r.test && std::abs(r.test->top1 - r.test->balanced) > 1e-9; });
  if (two)
    accuracy.series.push_back(epoch_series(run, "balanced", "var(--s3)", true, test_value(&EpochMetrics::balanced)));
  accuracy.series.push_back(
      epoch_series(run, "val", "var(--s4)", true, [](const EpochRow& r) { return r.val ? r.val->top1 : kAbsent; }));
  return figure({"Accuracy", line_chart(accuracy),
                 std::string("Top-1 on the training batches during the epoch, and on the test set") +
                     (two ? "; balanced: the mean of the classes' recalls." : ".")});
}

std::string course_section(const RunData& run) {
  if (run.epochs.empty())
    return section("Course of training", "course", note("metrics.jsonl has no epoch yet, so there are no curves."));
  LineChart lr{.description = "Learning rate by epoch", .x_name = "epoch", .y_name = "learning rate"};
  lr.series = {epoch_series(run, "lr", "var(--s1)", false, [](const EpochRow& r) { return r.lr; })};
  LineChart groups{.description = "Accuracy of many-, medium- and few-shot classes by epoch",
                   .x_name = "epoch",
                   .y_name = "mean recall, %"};
  groups.y = {.least = 0, .most = 100};
  groups.series = {epoch_series(run, "many", "var(--s1)", true, test_value(&EpochMetrics::many)),
                   epoch_series(run, "medium", "var(--s5)", true, test_value(&EpochMetrics::medium)),
                   epoch_series(run, "few", "var(--s2)", true, test_value(&EpochMetrics::few)),
                   epoch_series(run, "worst", "var(--s8)", true, test_value(&EpochMetrics::worst_class), true)};
  LineChart speed{.description = "Speed by epoch", .x_name = "epoch", .y_name = "images/s"};
  speed.y = {.least = 0};
  speed.include.add(0);
  speed.series = {epoch_series(run, "images/s", "var(--s1)", false, [](const EpochRow& r) { return r.images_per_s; })};
  if (auto& s = speed.series[0]; !s.points.empty()) s.name = grouped(std::llround(s.points.back().y));
  const std::string html =
      figures({figure(losses_figure(run)),
               figure({"Classes by size", line_chart(groups),
                       "Test recall of the classes with more than 100, 20 to 100 and fewer than 20 "
                       "training images, and of the worst class."}),
               figure({"Learning rate", line_chart(lr), ""}),
               figure({"Speed", line_chart(speed), "Training only, without evaluation."})});
  return section("Course of training", "course", html);
}

}  // namespace fulcrum::apps
