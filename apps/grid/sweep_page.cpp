// The page of a sweep: a curve over one key, heat maps over two, the table of all combinations.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include <fmt/format.h>

#include "apps/grid/sweep.h"
#include "apps/grid/table.h"
#include "apps/report/charts.h"
#include "apps/report/page.h"
#include "apps/report/text.h"

namespace fulcrum::apps {

namespace {

constexpr size_t kMostMaps = 24;

// The number, or NaN if the text is not a finite number.
double number_of(const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && std::isfinite(value) ? value : std::nan("");
}

double shown(const Sweep& sweep, double value) { return sweep.metric == "loss" ? value : 100 * value; }

std::string measure(const Sweep& sweep) {
  return sweep.metric == "loss" ? "held-out loss" : "held-out " + sweep.metric + ", %";
}

std::string point_title(const Sweep& sweep, const SweepPoint& p) {
  std::string text;
  for (size_t k = 0; k < sweep.keys.size(); k++) text += sweep.keys[k].key + " = " + p.values[k] + ", ";
  return text + metric_text(sweep, p.val);
}

std::string number_curve(const Sweep& sweep, const SweepResults& results) {
  Range x;
  Series line{"", "var(--s1)", {}};
  for (const SweepPoint& p : results.points) {
    const double at = number_of(p.values[0]);
    x.add(at);
    if (p.val.count > 0) line.points.push_back({at, shown(sweep, p.val.mean), point_title(sweep, p)});
  }
  std::ranges::sort(line.points, {}, &Point::x);
  LineChart chart{.description = measure(sweep) + " over " + sweep.keys[0].key,
                  .x_name = sweep.keys[0].key,
                  .y_name = measure(sweep)};
  chart.x = {.log = x.low > 0 && x.high >= 8 * x.low, .snap = false};
  chart.labels = false;
  chart.series = {line};
  return line_chart(chart);
}

std::string name_chart(const Sweep& sweep, const SweepResults& results) {
  IntervalChart chart{.description = measure(sweep) + " of each " + sweep.keys[0].key, .x_name = measure(sweep)};
  for (const SweepPoint& p : results.points) {
    chart.rows.push_back({p.values[0], {}});
    if (p.val.count > 0)
      chart.rows.back().marks.push_back(
          {shown(sweep, p.val.mean), shown(sweep, p.val.sd), "dot", "var(--s1)", point_title(sweep, p)});
  }
  return interval_chart(chart);
}

std::string one_key(const Sweep& sweep, const SweepResults& results) {
  const bool numbers =
      std::ranges::none_of(sweep.keys[0].values, [](const std::string& v) { return std::isnan(number_of(v)); });
  return figure({sweep.keys[0].key,
                 numbers ? number_curve(sweep, results) : name_chart(sweep, results),
                 "After the last epoch, the mean over the seeds.",
                 {},
                 !numbers});
}

// A map over the first two keys for each combination of the others.
std::string maps(const Sweep& sweep, const SweepResults& results) {
  const size_t rows = sweep.keys[0].values.size(), columns = sweep.keys[1].values.size();
  std::map<std::vector<std::string>, ValueMap> by_rest;
  const auto place = [](const std::vector<std::string>& values, const std::string& value) {
    return static_cast<size_t>(std::ranges::find(values, value) - values.begin());
  };
  std::vector<std::vector<std::string>> order;
  for (size_t i = 0; i < results.points.size(); i++) {
    const SweepPoint& p = results.points[i];
    const std::vector<std::string> rest(p.values.begin() + 2, p.values.end());
    const auto [at, is_new] = by_rest.try_emplace(rest);
    ValueMap& map = at->second;
    if (is_new) {
      order.push_back(rest);
      map = {.description = measure(sweep) + " over " + sweep.keys[0].key + " and " + sweep.keys[1].key,
             .x_name = sweep.keys[1].key,
             .y_name = sweep.keys[0].key,
             .columns = sweep.keys[1].values,
             .rows = sweep.keys[0].values,
             .decimals = sweep.metric == "loss" ? 3 : 1};
      map.values.assign(rows, std::vector<double>(columns, std::nan("")));
      map.titles.assign(rows, std::vector<std::string>(columns));
    }
    const size_t r = place(sweep.keys[0].values, p.values[0]), c = place(sweep.keys[1].values, p.values[1]);
    if (p.val.count > 0) map.values[r][c] = shown(sweep, p.val.mean);
    map.titles[r][c] = point_title(sweep, p);
    if (results.best == i) map.outlined = {r, c};
  }
  std::vector<std::string> html;
  for (const auto& rest : order) {
    if (html.size() == kMostMaps) break;
    std::string title = sweep.metric == "loss" ? "Held-out loss" : "Held-out " + sweep.metric + ", %";
    for (size_t k = 0; k < rest.size(); k++) title += ", " + sweep.keys[k + 2].key + " = " + rest[k];
    html.push_back(figure({title,
                           value_map(by_rest[rest]),
                           "After the last epoch, the mean over the seeds.",
                           {{"the best", "var(--s2)", "block"}},
                           true}));
  }
  return figures(html) + (order.size() > kMostMaps ? note("Further combinations are only in the table.") : "");
}

std::string all_points(const Sweep& sweep, const SweepResults& results) {
  Table t{.head = {}, .words = sweep.keys.size()};
  for (const SweptKey& key : sweep.keys) t.head.push_back(key.key);
  t.head.insert(t.head.end(), {"seeds", measure(sweep), ""});
  bool close = false;
  for (size_t p = 0; p < results.points.size(); p++) {
    const SweepPoint& point = results.points[p];
    if (results.best == p) t.strong.push_back(t.rows.size());
    close = close || as_good_as_best(results, p);
    t.rows.push_back(point.values);
    t.rows.back().insert(t.rows.back().end(), {std::to_string(point.val.count), metric_text(sweep, point.val),
                                               as_good_as_best(results, p) ? "≈ best" : ""});
  }
  return table(t) + (close ? note(concat_text("≈ best: ", kAsGood, ".")) : "");
}

std::string links(const Sweep& sweep, const SweepResults& results) {
  std::string html;
  for (const SweepPoint& p : results.points)
    if (!p.cells.empty()) html += report_links(p.cells.front()->method, p.cells, sweep.output);
  return html.empty() ? "" : section("Runs", "runs", details("Reports of the individual runs", html));
}

}  // namespace

std::string sweep_page(const Sweep& sweep, const SweepResults& results, const std::string& command) {
  std::string body =
      "<header>\n<p class=\"eyebrow\">Fulcrum · sweep</p>\n<h1>Sweep on " + escape(sweep.title) + "</h1>\n" +
      paragraph(fmt::format("{} Selected on {}, after the last epoch; the test set is not used for the choice.",
                            extent_text(sweep), held_out_text(sweep)));
  if (!results.missing.empty())
    body += note(fmt::format("Partial: {} of {} runs are missing; run the same command again to continue.",
                             results.missing.size(), sweep.cells.size()));
  body += "</header>\n";
  const std::string charts = sweep.keys.size() == 1 ? figures({one_key(sweep, results)}) : maps(sweep, results);
  body += section("Results", "results", charts + all_points(sweep, results));
  if (results.best) {
    const SweepPoint& p = results.points[*results.best];
    body += section(
        results.missing.empty() ? "The best" : "The best so far", "best",
        paragraph(point_title(sweep, p) + ". On the test set, not used for the choice: " + test_text(sweep, p) + ".") +
            "<pre style=\"white-space: pre-wrap\">" + escape(command) + "</pre>\n");
  }
  body += links(sweep, results) + "<footer>Written by fulcrum sweep";
  for (const std::string& commit : commits_of(sweep.cells)) body += ", commit " + escape(commit);
  return page("Sweep on " + sweep.title + " – Fulcrum", body + ".</footer>\n");
}

}  // namespace fulcrum::apps
