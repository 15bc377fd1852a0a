// The section on the classes: accuracy by size, confusion, calibration.
#include <algorithm>
#include <cmath>
#include <numeric>

#include <fmt/format.h>

#include "apps/report/page.h"
#include "apps/report/sections.h"
#include "apps/report/text.h"

namespace fulcrum::apps {

namespace {

constexpr size_t kMostLabels = 30, kMostRows = 40, kMostPairs = 10, kMostListed = 10, kBins = 15;
constexpr double kFewest = 10;  // the fewest images in a bin that is drawn

std::string class_title(const RunData& run, size_t c, double recall) {
  const std::string size = run.class_size(c) ? ", " + grouped(run.class_size(c)) + " training images" : "";
  return fmt::format("{}: {} %{}", run.class_name(c), percent(recall, 1), size);
}

// The classes that have a recall, in rising order of it.
std::vector<size_t> worst_first(const std::vector<double>& recall) {
  std::vector<size_t> order;
  for (size_t c = 0; c < recall.size(); c++)
    if (std::isfinite(recall[c])) order.push_back(c);
  std::ranges::stable_sort(order, {}, [&](size_t c) { return recall[c]; });
  return order;
}

Figure accuracy_by_size(const RunData& run, const std::vector<double>& recall) {
  ScatterChart chart{.description = "Accuracy of each class against its number of training images",
                     .x_name = "training images",
                     .y_name = "recall, %",
                     .x = {.log = true},
                     .y = {.least = 0, .most = 100},
                     .marks = {}};
  size_t without = 0;
  for (size_t c = 0; c < recall.size(); c++) {
    const auto size = static_cast<double>(run.class_size(c));
    without += size == 0;
    if (size > 0)
      chart.marks.push_back({size, 100 * recall[c], class_title(run, c, recall[c]),
                             recall.size() <= kMostLabels ? clipped(run.class_name(c), 18) : ""});
  }
  std::string caption = "Test recall; if the long tail is not learned, it falls to the left.";
  if (without) caption += fmt::format(" {} classes without training images are not drawn.", without);
  if (recall.size() > kMostLabels) caption += " Hover over a point for its class.";
  return {"Accuracy by class size", scatter_chart(chart), caption};
}

Figure accuracy_by_class(const RunData& run, const std::vector<double>& recall) {
  const auto order = worst_first(recall);
  if (recall.size() <= kMostLabels) {
    RowChart chart{
        .description = "Accuracy of each class", .x_name = "recall, %", .x = {.least = 0, .most = 100}, .rows = {}};
    for (const size_t c : order)
      chart.rows.push_back({run.class_name(c), {100 * recall[c]}, class_title(run, c, recall[c])});
    return {"Accuracy by class", row_chart(chart), "Test recall, the worst class first."};
  }
  ScatterChart chart{.description = "Accuracy of the classes, from the worst to the best",
                     .x_name = "classes, worst first",
                     .y_name = "recall, %",
                     .x = {.snap = false},
                     .y = {.least = 0, .most = 100},
                     .marks = {}};
  for (size_t i = 0; i < order.size(); i++)
    chart.marks.push_back(
        {static_cast<double>(i + 1), 100 * recall[order[i]], class_title(run, order[i], recall[order[i]]), ""});
  chart.small = order.size() > 100;
  return {"Accuracy by class", scatter_chart(chart), "Test recall. Hover over a point for its class."};
}

std::string worst_table(const RunData& run, const std::vector<double>& recall) {
  Table t{.head = {"Worst classes", "recall, %", "training images"}};
  for (const size_t c : worst_first(recall)) {
    if (t.rows.size() == kMostListed) break;
    t.rows.push_back(
        {run.class_name(c), percent(recall[c], 1), run.class_size(c) ? grouped(run.class_size(c)) : kUndefined});
  }
  return table(t);
}

// The classes by size if the sizes differ, else by number.
std::vector<size_t> class_order(const RunData& run) {
  std::vector<size_t> order(run.classes());
  std::iota(order.begin(), order.end(), size_t{0});
  if (run.sizes_differ())
    std::ranges::stable_sort(order, std::greater<>{}, [&](size_t c) { return run.class_size(c); });
  return order;
}

// A table of the most confused pairs: how many test images of the first class are taken for the second.
std::string confused_pairs(const RunData& run) {
  struct Pair {
    size_t label, prediction;
    int64_t count;
    double share;
  };
  const Predictions& p = *run.predictions;
  const size_t n = run.classes();
  std::vector<int64_t> sizes(n, 0), keys;
  for (size_t i = 0; i < p.label.size(); i++) {
    sizes[static_cast<size_t>(p.label[i])]++;
    if (p.label[i] != p.prediction[i]) keys.push_back(p.label[i] * static_cast<int64_t>(n) + p.prediction[i]);
  }
  std::ranges::sort(keys);
  std::vector<Pair> pairs;
  for (size_t i = 0; i < keys.size();) {
    const size_t first = i;
    while (i < keys.size() && keys[i] == keys[first]) i++;
    const auto label = static_cast<size_t>(keys[first]) / n;
    pairs.push_back({label, static_cast<size_t>(keys[first]) % n, static_cast<int64_t>(i - first),
                     static_cast<double>(i - first) / static_cast<double>(sizes[label])});
  }
  std::ranges::stable_sort(pairs, std::greater<>{}, &Pair::count);
  if (pairs.empty()) return note("Every test image is classified correctly.");
  Table t{.head = {"Most confused", "images", "%"}};
  for (const Pair& pair : pairs) {
    if (t.rows.size() == kMostPairs) break;
    t.rows.push_back({run.class_name(pair.label) + " → " + run.class_name(pair.prediction), grouped(pair.count),
                      percent(pair.share, 1)});
  }
  return table(t);
}

Figure confusion_figure(const RunData& run) {
  const auto order = class_order(run);
  HeatMap map{
      .description = "Confusion matrix: true classes in rows, predicted ones in columns", .names = {}, .counts = {}};
  std::vector<size_t> place(order.size());
  for (size_t i = 0; i < order.size(); i++) {
    place[order[i]] = i;
    map.names.push_back(run.class_name(order[i]));
  }
  map.counts.assign(order.size(), std::vector<int64_t>(order.size(), 0));
  const Predictions& p = *run.predictions;
  for (size_t i = 0; i < p.label.size(); i++)
    map.counts[place[static_cast<size_t>(p.label[i])]][place[static_cast<size_t>(p.prediction[i])]]++;
  std::string caption = "Shares of each row, in percent; the diagonal is the recall. ";
  caption +=
      run.sizes_differ()
          ? "Classes go from many to few training images: orange left of the diagonal means that rare classes are "
            "mistaken for frequent ones."
          : "";
  return {"Confusion", heat_map(map),
          caption,     {{"correct", "var(--s1)", "block"}, {"predicted as another class", "var(--s2)", "block"}},
          true,        confused_pairs(run)};
}

// " ECE 0.037." of the last epoch; empty if it was not measured.
std::string ece_text(const RunData& run) {
  const EpochRow* last = run.last_evaluated();
  return last && std::isfinite(last->test->ece) ? " ECE " + decimal(last->test->ece, 3) + "." : "";
}

Figure calibration_figure(const RunData& run) {
  const Predictions& p = *run.predictions;
  std::vector<double> count(kBins, 0), right(kBins, 0), confidence(kBins, 0);
  for (size_t i = 0; i < p.label.size(); i++) {
    if (!(p.confidence[i] >= 0 && p.confidence[i] <= 1)) continue;
    const auto bin = std::min(kBins - 1, static_cast<size_t>(p.confidence[i] * kBins));
    count[bin]++, right[bin] += p.label[i] == p.prediction[i], confidence[bin] += p.confidence[i];
  }
  LineChart chart{.description = "Share of correct predictions against the confidence of the network",
                  .x_name = "confidence, %",
                  .y_name = "correct, %",
                  .x = {.least = 0, .most = 100},
                  .y = {.least = 0, .most = 100}};
  Series s{"measured", "var(--s1)", {}};
  for (size_t b = 0; b < kBins; b++)
    if (count[b] >= kFewest)
      s.points.push_back(
          {100 * confidence[b] / count[b], 100 * right[b] / count[b],
           fmt::format("{} images with a confidence of about {} %: {} % correct", grouped(std::llround(count[b])),
                       decimal(100 * confidence[b] / count[b], 0), decimal(100 * right[b] / count[b], 1))});
  if (s.points.empty()) return {"Calibration", "", ""};
  const double low = std::min(s.points.front().x, 100.0);
  chart.series = {s, {"ideal", "var(--s8)", {{low, low, "ideal"}, {100, 100, "ideal"}}, true}};
  return {"Calibration", line_chart(chart),
          "How often the prediction is correct against its softmax probability; below the dashed line the network is "
          "overconfident. Bins of fewer than 10 images are left out." +
              ece_text(run)};
}

}  // namespace

std::string classes_section(const RunData& run) {
  const EpochRow* last = run.last_evaluated();
  std::vector<std::string> charts;
  std::string html, notes;
  if (last && !last->test->per_class.empty()) {
    const auto& recall = last->test->per_class;
    charts.push_back(figure(run.sizes_differ() ? accuracy_by_size(run, recall) : accuracy_by_class(run, recall)));
    if (!run.data)
      notes += note(
          "There is no data.json: classes have numbers instead of names, and their sizes are "
          "unknown.");
    if (recall.size() > kMostLabels) html = subheading("Where it fails") + worst_table(run, recall);
  } else {
    notes += note("No accuracy by class: metrics.jsonl has no per_class.");
  }
  if (!run.predictions) {
    notes += note("No confusion matrix: there is no predictions.safetensors.");
  } else if (run.classes() == 0) {
    notes += note("No confusion matrix: no file gives the number of classes.");
  } else {
    charts.push_back(figure(calibration_figure(run)));
    if (run.classes() <= kMostRows) charts.push_back(figure(confusion_figure(run)));
    else html += subheading("Most confused classes") + confused_pairs(run);
    if (last && run.predictions->epoch && *run.predictions->epoch != last->epoch)
      notes += note(fmt::format("The predictions are those after epoch {}.", *run.predictions->epoch + 1));
  }
  return section("Classes", "classes", figures(charts) + html + notes);
}

}  // namespace fulcrum::apps
