// The section on what the risk did in the course of training.
#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include <fmt/format.h>

#include "apps/histogram.h"
#include "apps/losses.h"
#include "apps/report/page.h"
#include "apps/report/sections.h"
#include "apps/report/text.h"

namespace fulcrum::apps {

namespace {

constexpr size_t kMostClasses = 12;  // the most in a chart

// A series for each class: if their sizes differ, in a colour between those of the largest and the smallest class.
std::vector<Series> class_series(const RunData& run, const std::vector<size_t>& classes, bool share,
                                 const std::function<double(const EpochRow& row, size_t c)>& value) {
  const bool ramp = run.sizes_differ();
  std::vector<Series> all;
  for (size_t i = 0; i < classes.size(); i++) {
    const size_t c = classes[i], percent = classes.size() < 2 ? 0 : 100 * i / (classes.size() - 1);
    const std::string colour = ramp ? fmt::format("color-mix(in oklab, var(--s2) {}%, var(--s1))", percent)
                                    : fmt::format("var(--s{})", i % 8 + 1);
    all.push_back({clipped(run.class_name(c), 12), colour,
                   epoch_points(run, run.class_name(c), share, [&](const EpochRow& r) { return value(r, c); }),
                   !ramp && i >= 8});
  }
  return all;
}

// The class weights that the loss has once they have begun; empty if it has none or they are unknown.
std::vector<double> loss_class_weights(const RunData& run) {
  const LossSettings& s = run.config.loss;
  if (s.class_weights == "none" || !run.data || run.data->train_counts.empty()) return {};
  LossFunction loss(s, run.data->train_counts, /*samples=*/1, Device());
  loss.begin_epoch(s.drw_epoch);
  return loss.class_weight().to_vector();
}

// The share of each class in what moves the model: the sum of its samples' weights, times its weight in the loss.
std::vector<double> weight_shares(const EpochRow& row, const std::vector<double>& loss_weights, int64_t from_epoch) {
  std::vector<double> shares = row.class_weight_share;
  if (loss_weights.size() != shares.size() || row.epoch < from_epoch) return shares;
  double total = 0;
  for (size_t c = 0; c < shares.size(); c++) total += shares[c] *= loss_weights[c];
  for (double& share : shares) share = total > 0 ? share / total : 0;
  return shares;
}

const EpochRow* last_with_shares(const RunData& run) {
  for (auto row = run.epochs.rbegin(); row != run.epochs.rend(); ++row)
    if (!row->class_weight_share.empty()) return &*row;
  return nullptr;
}

// The share of each class in the training samples; NaN if it is unknown or 0.
std::vector<double> sample_shares(const RunData& run) {
  std::vector<double> shares(run.classes(), kAbsent);
  double total = 0;
  for (size_t c = 0; c < shares.size(); c++) total += static_cast<double>(run.class_size(c));
  for (size_t c = 0; c < shares.size(); c++)
    if (run.class_size(c) > 0) shares[c] = static_cast<double>(run.class_size(c)) / total;
  return shares;
}

// The classes whose share of the weight differs most from their share of the samples (or, if that is unknown, those
// with the largest weight), by size.
std::vector<size_t> interesting_classes(const RunData& run, const std::vector<double>& weight,
                                        const std::vector<double>& samples) {
  std::vector<size_t> classes(weight.size());
  std::iota(classes.begin(), classes.end(), size_t{0});
  const auto interest = [&](size_t c) {
    if (std::isnan(weight[c])) return -1.0;
    if (!run.data) return weight[c];
    return samples[c] > 0 && weight[c] > 0 ? std::abs(std::log(weight[c] / samples[c])) : -1.0;
  };
  std::ranges::stable_sort(classes, std::greater<>{}, interest);
  if (classes.size() > kMostClasses) classes.resize(kMostClasses);
  std::ranges::sort(classes);
  std::ranges::stable_sort(classes, std::greater<>{}, [&](size_t c) { return run.class_size(c); });
  return classes;
}

std::string which(const RunData& run, const std::vector<size_t>& classes) {
  if (classes.size() == run.classes()) return "";
  return fmt::format(" Only the {} of {} classes in which the two differ most are shown.", classes.size(),
                     run.classes());
}

Figure ratio_figure(const RunData& run, const std::vector<size_t>& classes, const std::vector<double>& samples) {
  LineChart chart{.description = "Weight of each class relative to its number of samples, by epoch",
                  .x_name = "epoch",
                  .y_name = "share of weight ÷ share of samples"};
  chart.reference = 1;
  Range all;
  chart.series = class_series(run, classes, false, [&](const EpochRow& r, size_t c) {
    return r.class_weight_share.empty() ? kAbsent : r.class_weight_share[c] / samples[c];
  });
  for (const Series& s : chart.series)
    for (const Point& p : s.points) all.add(p.y);
  chart.y.log = all.low > 0 && all.high > 4 * all.low;
  return {"Weight of the classes", line_chart(chart),
          std::string("1 is the plain mean; a class at 2 moves the model as if it had twice its samples.") +
              (run.sizes_differ() ? " Blue: many samples, orange: few." : "") + which(run, classes)};
}

Figure share_figure(const RunData& run, const std::vector<size_t>& classes) {
  LineChart chart{
      .description = "Share of each class in the weight, by epoch", .x_name = "epoch", .y_name = "share of Σ p, %"};
  chart.series = class_series(run, classes, true, [](const EpochRow& r, size_t c) {
    return r.class_weight_share.empty() ? kAbsent : r.class_weight_share[c];
  });
  return {"Weight of the classes", line_chart(chart), "Share of the classes in the sum of the weights of an epoch."};
}

Figure dumbbell_figure(const RunData& run, const EpochRow& last, const std::vector<size_t>& classes,
                       const std::vector<double>& samples) {
  RowChart chart{
      .description = "Share of the samples and of the weight by class", .x_name = "share, %", .x = {}, .rows = {}};
  Range all;
  for (const size_t c : classes) {
    const double weight = last.class_weight_share[c];
    chart.rows.push_back({run.class_name(c),
                          {100 * samples[c], 100 * weight},
                          fmt::format("{}: {} % of the samples, {} % of the weight", run.class_name(c),
                                      percent(samples[c]), percent(weight))});
    all.add(samples[c]), all.add(weight);
  }
  chart.x.log = all.low > 0 && all.high > 10 * all.low;
  if (!chart.x.log) chart.x.least = 0;
  return {"From samples to weight",
          row_chart(chart),
          fmt::format("Each class's share of the training samples and of the weight in epoch {}.", last.epoch + 1),
          {{"share of the samples", "var(--s8)", "ring"}, {"share of the weight", "var(--s1)", "dot"}}};
}

std::string class_figures(RunData run) {
  const std::vector<double> loss_weights = loss_class_weights(run);
  for (EpochRow& row : run.epochs) row.class_weight_share = weight_shares(row, loss_weights, run.config.loss.drw_epoch);
  const EpochRow* last = last_with_shares(run);
  if (!last) return note("No weights by class: metrics.jsonl has no class_weight_share.");
  const auto samples = sample_shares(run);
  const auto classes = interesting_classes(run, last->class_weight_share, samples);
  if (!run.data)
    return figures({figure(share_figure(run, classes))}) +
           note(
               "There is no data.json, so the weight cannot be compared with the size of the "
               "classes.");
  return figures({figure(ratio_figure(run, classes, samples)), figure(dumbbell_figure(run, *last, classes, samples))}) +
         (loss_weights.empty() ? ""
                               : note(fmt::format("From epoch {} on the weight of a class includes its class weight in "
                                                  "the loss, which multiplies the weights p of its samples.",
                                                  run.config.loss.drw_epoch + 1)));
}

std::string curve_of(const RunData& run, const std::string& title, const std::string& y_name,
                     const std::string& caption, const EpochValue& value, Range include,
                     std::optional<double> reference) {
  LineChart chart{.description = title + " by epoch", .x_name = "epoch", .y_name = y_name};
  chart.include = include;
  chart.reference = reference;
  chart.series = {epoch_series(run, title, "var(--s1)", false, value)};
  if (const auto& points = chart.series[0].points; !points.empty())
    chart.series[0].name = significant(points.back().y, 3);
  return figure({title, line_chart(chart), caption});
}

// The distribution of weights or losses, epoch by epoch.
std::string strip_of(const RunData& run, const std::string& title, const std::string& y_name,
                     const std::string& caption, std::vector<int64_t> EpochRow::*counts, const LogBins& bins,
                     const std::string& colour, std::optional<double> reference) {
  StripChart chart{.description = title + " of the training samples by epoch",
                   .x_name = "epoch",
                   .y_name = y_name,
                   .edges = bins.edges(),
                   .reference = reference,
                   .colour = colour};
  for (const EpochRow& row : run.epochs) {
    const auto& histogram = row.*counts;
    const auto total = static_cast<double>(std::accumulate(histogram.begin(), histogram.end(), int64_t{0}));
    if (total == 0) continue;
    chart.x.push_back(static_cast<double>(row.epoch + 1));
    chart.shares.emplace_back();
    for (const int64_t n : histogram) chart.shares.back().push_back(static_cast<double>(n) / total);
  }
  return figure({title, strip_chart(chart), caption});
}

std::string wrong_labels_figure(const RunData& run) {
  LineChart chart{.description = "How well low weights and large losses find wrong labels, by epoch",
                  .x_name = "epoch",
                  .y_name = "%",
                  .y = {.least = 0, .most = 100}};
  chart.reference = 50;
  chart.series = {
      epoch_series(run, "AUROC", "var(--s1)", true, [](const EpochRow& r) { return r.wrong_auroc; }),
      epoch_series(run, "precision", "var(--s2)", true, [](const EpochRow& r) { return r.wrong_precision; }),
      epoch_series(
          run, "by loss", "var(--s5)", true, [](const EpochRow& r) { return r.wrong_auroc_by_loss; }, true)};
  const bool by_weight = !chart.series[0].points.empty();
  if (!by_weight && chart.series[2].points.empty()) return {};
  return figure(
      {"Wrong labels found", line_chart(chart),
       (by_weight ? std::string("How well “a low mean weight means a wrong label” holds: AUROC, of which the "
                                "dotted line is chance, and precision among as many of the lightest samples as "
                                "there are wrong labels, with those that weigh as much as the last of them; without "
                                "such ties it equals recall. Dashed: AUROC of")
                  : std::string("Dashed: AUROC of")) +
           " “a large loss means a wrong label”, by the samples' last losses."});
}

}  // namespace

std::string weights_section(const RunData& run) {
  if (run.epochs.empty()) return {};
  const bool tempered =
      std::any_of(run.epochs.begin(), run.epochs.end(), [](const EpochRow& r) { return std::abs(r.inv_lambda) > 0; });
  const std::string html = figures(
      {curve_of(
           run, "Effective sample fraction", "(Σp)² ÷ (B Σp²)",
           "1 if all samples of a batch weigh the same, 1/B if one has all the weight.",
           [](const EpochRow& r) { return r.effective_fraction; }, {0.9, 1}, 1),
       curve_of(
           run, "Weight sum", "Σ p",
           "The mean over the batches: 1 in the plain mean. Under ABSGD it shows how hard the batches are relative "
           "to the moving average u.",
           [](const EpochRow& r) { return r.weight_sum; }, {0.9, 1.1}, 1),
       tempered ? curve_of(
                      run, "Inverse temperature", "1 / λ",
                      "0 is the plain mean; above 0 large losses weigh more, below 0 small ones.",
                      [](const EpochRow& r) { return r.inv_lambda; }, {0, 0}, std::nullopt)
                : std::string(),
       curve_of(
           run, "Moving average", "log u",
           "log u at the end of each epoch, where u averages exp(l/λ); if λ > 0, it falls with the losses.",
           [](const EpochRow& r) { return r.log_u; }, {}, std::nullopt),
       strip_of(
           run, "Weights", "weight B·p",
           "Distribution of the samples' last weights after each epoch; the stronger the colour, the more samples. "
           "The dotted line is the plain mean. The first and the last band hold all values beyond.",
           &EpochRow::weight_histogram, kWeightBins, "var(--s1)", 1),
       strip_of(run, "Losses", "loss", "The same for the losses at the last visit, class weights included.",
                &EpochRow::loss_histogram, kLossBins, "var(--s5)", std::nullopt),
       wrong_labels_figure(run)});
  return section("Weights", "weights", html + class_figures(run));
}

}  // namespace fulcrum::apps
