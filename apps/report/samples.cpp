// The section on the training samples: weights against losses, wrong labels, extreme images.
#include <algorithm>

#include <fmt/format.h>

#include <fulcrum/data/ranking.h>

#include "apps/report/page.h"
#include "apps/report/png.h"
#include "apps/report/sections.h"
#include "apps/report/text.h"

namespace fulcrum::apps {

namespace {

constexpr size_t kMostPoints = 2000, kMostCuts = 200, kBins = 30;

std::string label_name(const RunData& run, int64_t label) { return run.class_name(static_cast<size_t>(label)); }

std::string sample_title(const RunData& run, size_t i) {
  const Samples& s = *run.samples;
  const std::string clean =
      s.label[i] == s.clean_label[i] ? "" : " (clean label: " + label_name(run, s.clean_label[i]) + ")";
  return fmt::format("sample {}: {}{}, loss {}, weight {}", s.index[i], label_name(run, s.label[i]), clean,
                     significant(s.loss[i], 3), significant(s.weight[i], 3));
}

Figure scatter_figure(const RunData& run) {
  const Samples& s = *run.samples;
  ScatterChart chart{.description = "Weight of the training samples against their loss, at the last visit",
                     .x_name = "loss at the last visit",
                     .y_name = "weight B·p at the last visit",
                     .x = {},
                     .y = {},
                     .marks = {},
                     .small = true};
  const size_t n = s.index.size(), count = std::min(n, kMostPoints);
  Range x, y;
  size_t zeros = 0;
  for (size_t k = 0; k < count; k++) {
    const size_t i = k * n / count;
    zeros += s.weight[i] == 0;
    if (s.weight[i] > 0) x.add(s.loss[i]), y.add(s.weight[i]);
    chart.marks.push_back({s.loss[i], s.weight[i], sample_title(run, i), "", s.label[i] != s.clean_label[i]});
  }
  // Weights are exponentials of losses: on a logarithmic axis they form a line of slope 1/λ.
  chart.y.log = !y.empty() && y.high > 8 * y.low;
  std::string caption = count == n
                            ? ""
                            : fmt::format("{} of {} samples, evenly spaced. ", grouped(static_cast<int64_t>(count)),
                                          grouped(static_cast<int64_t>(n)));
  caption += "1 is the weight in the plain mean.";
  if (chart.y.log && zeros) {
    std::erase_if(chart.marks, [](const Mark& m) { return m.y == 0; });
    caption += fmt::format(" {} of them have weight 0 and are not drawn.", zeros);
  }
  std::vector<LegendEntry> legend;
  if (s.wrong_labels()) legend = {{"correct label", "var(--s1)", "dot"}, {"wrong label", "var(--s2)", "cross"}};
  return {"Weights against losses", scatter_chart(chart), caption, legend};
}

// The distribution of the mean weights, for right and for wrong labels.
Figure histogram_figure(const RunData& run) {
  const Samples& s = *run.samples;
  Range range;
  for (const double w : s.mean_weight) range.add(w);
  if (range.empty() || !weights_differ(s.mean_weight)) return {"", "", ""};
  const bool log = range.low > 0 && range.high > 8 * range.low;
  const auto scale = [&](double w) { return log ? std::log(w) : w; };
  const double low = scale(range.low), width = (scale(range.high) - low) / kBins;
  std::vector<double> counts[2] = {std::vector<double>(kBins), std::vector<double>(kBins)};
  double totals[2] = {0, 0};
  for (size_t i = 0; i < s.index.size(); i++) {
    if (!std::isfinite(s.mean_weight[i])) continue;
    const size_t wrong = s.label[i] != s.clean_label[i];
    const auto bin = static_cast<size_t>((scale(s.mean_weight[i]) - low) / width);
    counts[wrong][std::min(bin, kBins - 1)]++;
    totals[wrong]++;
  }
  LineChart chart{.description = "Distribution of the mean weights",
                  .x_name = "mean weight",
                  .y_name = "samples, %",
                  .x = {.log = log, .snap = false},
                  .y = {.least = 0}};
  chart.include.add(0);
  chart.labels = false;
  std::vector<LegendEntry> legend;
  for (const size_t wrong : {0u, 1u}) {
    if (totals[wrong] == 0) continue;
    const std::string name = wrong ? "wrong label" : "correct label", colour = wrong ? "var(--s2)" : "var(--s1)";
    Series series{name, colour, {}};
    for (size_t b = 0; b < kBins; b++) {
      const double centre = low + (static_cast<double>(b) + 0.5) * width, share = counts[wrong][b] / totals[wrong];
      series.points.push_back({log ? std::exp(centre) : centre, 100 * share,
                               fmt::format("{}, weight about {}: {} %", name,
                                           significant(log ? std::exp(centre) : centre, 3), percent(share, 1))});
    }
    chart.series.push_back(std::move(series));
    if (s.wrong_labels()) legend.push_back({name, colour});
  }
  return {"Mean weights", line_chart(chart),
          "Mean over the visits of a sample, in bins of equal width on this axis; 1 is the plain mean.", legend};
}

// What may say that a label is wrong, and how well it does.
struct Sign {
  std::string name, colour;  // "large loss", a CSS value
  std::string which;         // "with the largest losses"
  Ranking found;
};

// Low mean weights, where they differ, and large losses.
std::vector<Sign> signs_of(const Samples& s) {
  std::vector<double> lightness, loss;
  std::vector<bool> wrong;
  for (size_t i = 0; i < s.index.size(); i++) {
    if (!std::isfinite(s.mean_weight[i])) continue;  // not visited
    lightness.push_back(-s.mean_weight[i]);
    loss.push_back(s.loss[i]);
    wrong.push_back(s.label[i] != s.clean_label[i]);
  }
  std::vector<Sign> signs;
  if (weights_differ(s.mean_weight))
    signs.push_back({"low mean weight", "var(--s1)", "with the lowest mean weights", rank_quality(lightness, wrong)});
  signs.push_back({"large loss", "var(--s5)", "with the largest losses", rank_quality(loss, wrong)});
  return signs;
}

Series precision_recall(const Sign& sign) {
  const auto& curve = sign.found.curve;
  Series series{sign.name, sign.colour, {}};
  const size_t step = (curve.size() + kMostCuts - 1) / kMostCuts;
  for (size_t k = 0; k < curve.size(); k++)
    if (k % step == 0 || k + 1 == curve.size())
      series.points.push_back({100 * curve[k].recall, 100 * curve[k].precision,
                               fmt::format("the {} samples {}: precision {} %, recall {} %", curve[k].flagged,
                                           sign.which, percent(curve[k].precision, 1), percent(curve[k].recall, 1))});
  return series;
}

// How well the weights and the losses find the wrong labels.
std::string noise_html(const RunData& run, std::vector<std::string>& charts) {
  const Samples& s = *run.samples;
  const std::vector<Sign> signs = signs_of(s);
  if (signs.front().found.curve.empty())
    return note("The training labels are all wrong or all correct, so nothing can tell them apart.");
  size_t visited = 0, total = 0;
  for (size_t i = 0; i < s.index.size(); i++) {
    if (!std::isfinite(s.mean_weight[i])) continue;
    visited++;
    total += s.label[i] != s.clean_label[i];
  }
  const double share = static_cast<double>(total) / static_cast<double>(visited);
  LineChart chart{.description = "Precision against recall of low weights and large losses as signs of a wrong label",
                  .x_name = "recall, %",
                  .y_name = "precision, %",
                  .x = {.least = 0, .most = 100},
                  .y = {.least = 0, .most = 100}};
  chart.reference = 100 * share;
  chart.labels = false;
  std::vector<LegendEntry> legend;
  Table t{.head = {"What says that a label is wrong"},
          .rows = {{"AUROC (0.5: chance)"},
                   {"Average precision"},
                   {"Most suspect samples: as many as are wrong, and those tied with the last"},
                   {"Precision among them, %"},
                   {"Recall with them, %"}}};
  for (const Sign& sign : signs) {
    chart.series.push_back(precision_recall(sign));
    legend.push_back({sign.name, sign.colour});
    const Ranking::Cut& cut = cut_at(sign.found, total);
    t.head.push_back(sign.name);
    const std::string values[] = {decimal(sign.found.auroc, 4), decimal(sign.found.average_precision, 4),
                                  grouped(static_cast<int64_t>(cut.flagged)), percent(cut.precision, 1),
                                  percent(cut.recall, 1)};
    for (size_t r = 0; r < t.rows.size(); r++) t.rows[r].push_back(values[r]);
  }
  charts.push_back(
      figure({"Signs of wrong labels", line_chart(chart),
              std::string("From the most suspect sample (left) to all of them; the dotted line is chance. ") +
                  (signs.size() > 1 ? "Mean weights are over all visits, losses of the last one."
                                    : "Losses are those of the last visit."),
              legend}));
  return table(t) + note(fmt::format("{} of the visited samples' labels are wrong, {} %.",
                                     grouped(static_cast<int64_t>(total)), percent(share, 1)));
}

std::string gallery(const RunData& run, const Thumbnails& thumbnails, const std::string& title) {
  if (thumbnails.sample.empty()) return {};
  const Samples& s = *run.samples;
  const Tensor& images = thumbnails.images;
  const int64_t h = images.size(1), w = images.size(2), c = images.size(3);
  std::string out = subheading(title) + "<ul class=\"samples\">\n";
  for (size_t k = 0; k < thumbnails.sample.size(); k++) {
    const auto i = static_cast<size_t>(thumbnails.sample[k]);
    const std::string name = label_name(run, s.label[i]);
    const bool wrong = s.label[i] != s.clean_label[i];
    const std::string clean = wrong ? "is " + label_name(run, s.clean_label[i]) : "";
    const uint8_t* pixels = images.data<uint8_t>() + static_cast<int64_t>(k) * h * w * c;
    out += fmt::format(
        "<li><img src=\"{}\" width=\"76\" height=\"76\" alt=\"{}\"><b>{}</b>", png_data_uri(pixels, h, w, c),
        escape(fmt::format("Sample {}, labelled {}{}", s.index[i], name, wrong ? ", " + clean : "")), escape(name));
    if (wrong) out += "<span class=\"clean\">" + escape(clean) + "</span>";
    out += fmt::format("weight {}<br>loss {}</li>\n", significant(s.mean_weight[i], 3), significant(s.loss[i], 3));
  }
  return out + "</ul>\n";
}

}  // namespace

std::string samples_section(const RunData& run) {
  if (!run.samples)
    return section("Samples", "samples", note("No weights of individual samples: there is no samples.safetensors."));
  const Samples& s = *run.samples;
  std::vector<std::string> charts = {figure(scatter_figure(run)), figure(histogram_figure(run))};
  std::string html;
  if (s.wrong_labels()) {
    const std::string found = noise_html(run, charts);
    charts.push_back("<div>" + found + "</div>\n");
  }
  const bool differ = weights_differ(s.mean_weight);
  if (!differ) html += note("All mean weights are equal: the run weighted its samples as the plain mean does.");
  const std::string measure = differ ? "mean weights" : "last losses";
  html += gallery(run, s.largest, "Largest " + measure) + gallery(run, s.smallest, "Smallest " + measure);
  if (s.largest.sample.empty() && s.smallest.sample.empty()) html += note("samples.safetensors has no images.");
  if (std::filesystem::exists(run.directory / "suspects.csv"))
    html += note(
        "suspects.csv in the run directory lists every sample, the most suspect first (lowest mean weight, then largest "
        "loss), with its label and the network's prediction.");
  return section("Samples", "samples", figures(charts) + html);
}

}  // namespace fulcrum::apps
