// Several runs side by side: their curves in shared charts, tables of their results and of the settings in which they
// differ.
#include <algorithm>
#include <map>
#include <numeric>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <fulcrum/core/serialize_json.h>

#include "apps/report/page.h"
#include "apps/report/sections.h"
#include "apps/report/text.h"
#include "apps/run_directory.h"
#include "apps/spread.h"

namespace fulcrum::apps {

namespace {

constexpr size_t kMostClassRows = 30;  // the most classes that get a row each

// Whether a setting does not make another experiment.
bool is_incidental(const std::string& key) {
  return key == "train.seed" || std::ranges::find(free_settings(), key) != free_settings().end();
}

// Runs on the same data that differ only in the seed, in the order of the first of each; no seed is in a group twice.
struct Group {
  std::vector<size_t> runs;
  std::string stem, name, colour;  // the name ends with the number of seeds
  bool dashed;
};

using SettingsTable = std::vector<std::vector<Setting>>;  // [run][key]

bool differs(const SettingsTable& settings, size_t key) {
  return std::ranges::any_of(settings, [&](const auto& of_run) { return of_run[key].value != settings[0][key].value; });
}

// The common beginning of the runs' names, without a "-seed" or the like at its end.
std::string common_name(const std::vector<RunData>& runs, const std::vector<size_t>& members) {
  std::string name = runs[members[0]].name;
  for (const size_t i : members) {
    const auto end = std::ranges::mismatch(name, runs[i].name).in1;
    name.erase(end, name.end());
  }
  while (!header_json::is_utf8(name)) name.pop_back();  // a character of several bytes was cut
  if (const size_t last = name.find_last_not_of("0123456789");
      members.size() > 1 && last != std::string::npos && name.substr(0, last + 1).ends_with("seed"))
    name.resize(last + 1);
  for (const std::string_view tail : {"-", "_", ".", "seed", "s", "-", "_", ".", "/"})
    if (members.size() > 1 && name.ends_with(tail) && name.size() > tail.size()) name.resize(name.size() - tail.size());
  return name;
}

std::string settings_name(const SettingsTable& settings, size_t run) {
  std::string name;
  for (size_t k = 0; k < settings[0].size(); k++)
    if (const Setting& s = settings[run][k]; !is_incidental(s.key) && differs(settings, k))
      name += (name.empty() ? "" : ", ") + s.key + " = " + s.value;
  return name;
}

// Names the groups by the names of their runs or, if those are not distinct, by the settings in which they differ.
void name_groups(std::vector<Group>& groups, const std::vector<RunData>& runs, const SettingsTable& settings) {
  std::map<std::string, int> uses;
  for (Group& g : groups) uses[g.stem = common_name(runs, g.runs)]++;
  for (Group& g : groups) {
    if (g.stem.empty() || uses[g.stem] > 1) g.stem = settings_name(settings, g.runs[0]);
    if (g.stem.empty()) g.stem = "all";
    g.name = g.stem;
    if (g.runs.size() > 1) g.name += fmt::format(" ({} seeds)", g.runs.size());
  }
}

// What distinguishes the data of runs, since the settings do not (data.dir is not compared).
std::string data_key(const RunData& run) {
  if (!run.data) return {};
  return fmt::format("{} {} {}", fmt::join(run.data->classes, "\n"), fmt::join(run.data->train_counts, " "),
                     fmt::join(run.data->test_counts, " "));
}

std::vector<Group> groups_of(const std::vector<RunData>& runs, const SettingsTable& settings) {
  std::vector<Group> groups;
  std::map<std::vector<std::string>, size_t> found;
  std::map<std::vector<std::string>, int> seen;
  for (size_t i = 0; i < runs.size(); i++) {
    std::vector<std::string> values;
    for (const Setting& s : settings[i])
      if (!is_incidental(s.key)) values.push_back(s.value);
    values.push_back(data_key(runs[i]));
    std::vector<std::string> with_seed = values;
    with_seed.push_back(std::to_string(runs[i].config.train.seed));
    values.push_back(std::to_string(seen[with_seed]++));
    const auto [at, is_new] = found.try_emplace(values, groups.size());
    if (is_new) groups.push_back({});
    groups[at->second].runs.push_back(i);
  }
  for (size_t g = 0; g < groups.size(); g++) {
    groups[g].colour = fmt::format("var(--s{})", g % 8 + 1);
    groups[g].dashed = g / 8 % 2 == 1;
  }
  name_groups(groups, runs, settings);
  return groups;
}

std::string mean_sd(const std::vector<double>& values, const Metric& m) {
  const auto [mean, sd, count] = spread_of(values);
  return m.is_share ? percent(mean) + " ± " + percent(sd) : decimal(mean, 4) + " ± " + decimal(sd, 4);
}

std::vector<Metric> metrics_in(const std::vector<RunData>& runs) {
  std::vector<Metric> present;
  for (const Metric& m : kMetrics)
    if (std::ranges::any_of(runs, [&](const RunData& r) {
          const EpochRow* last = r.last_evaluated();
          return last && says_something(m, r.classes()) && !std::isnan((*last->test).*m.value);
        }))
      present.push_back(m);
  return present;
}

std::vector<std::string> run_row(const RunData& run, const std::vector<Metric>& metrics) {
  const EpochRow* last = run.last_evaluated();
  std::vector<std::string> row = {
      run.name, std::to_string(run.config.train.seed),
      run.finished() ? std::to_string(run.done()) : fmt::format("{} of {}", run.done(), run.config.train.epochs)};
  for (const Metric& m : metrics) {
    const double v = last ? (*last->test).*m.value : kAbsent;
    row.push_back(m.is_share ? percent(v) : decimal(v, 4));
    if (m.value != &EpochMetrics::top1) continue;
    row.push_back(run.best ? percent(run.best->metrics.top1) + (run.best->selected_on == "val" ? " (val)" : "")
                           : kUndefined);
  }
  return row;
}

std::string results(const std::vector<RunData>& runs, const std::vector<Group>& groups) {
  const auto metrics = metrics_in(runs);
  Table t{.head = {"Run", "seed", "epochs"}};
  for (const Metric& m : metrics) {
    t.head.push_back(m.name);
    if (m.value == &EpochMetrics::top1) t.head.push_back("Best top-1");
  }
  bool means = false, unfinished = false;
  for (const Group& g : groups) {
    for (const size_t i : g.runs) t.rows.push_back(run_row(runs[i], metrics));
    std::vector<const EpochMetrics*> finals;
    for (const size_t i : g.runs) {
      const EpochRow* last = runs[i].last_evaluated();
      if (runs[i].finished() && last) finals.push_back(&*last->test);
      unfinished |= !runs[i].finished();
    }
    if (finals.size() < 2) continue;
    means = true;
    std::vector<std::string> row = {g.stem + ", mean ± sd", fmt::format("n = {}", finals.size()), ""};
    for (const Metric& m : metrics) {
      std::vector<double> values;
      for (const EpochMetrics* e : finals) values.push_back(e->*m.value);
      row.push_back(mean_sd(values, m));
      if (m.value == &EpochMetrics::top1) row.push_back("");
    }
    t.strong.push_back(t.rows.size());
    t.rows.push_back(std::move(row));
  }
  std::string text = "On the test set after the last evaluated epoch, shares in percent.";
  if (means) text += " Means and sample standard deviations are over runs that differ only in the seed";
  if (means && unfinished) text += " and are finished";
  return section("Results", "results", table(t) + note(text + (means ? "." : "")));
}

std::string curve(const std::vector<RunData>& runs, const std::vector<Group>& groups, const std::string& title,
                  const std::string& y_name, bool share, const EpochValue& value, Range include) {
  LineChart chart{.description = title + " of every run by epoch", .x_name = "epoch", .y_name = y_name};
  if (share) chart.y = {.least = 0, .most = 100};
  for (const Group& g : groups)
    for (const size_t i : g.runs)
      chart.series.push_back({runs[i].name, g.colour, epoch_points(runs[i], runs[i].name, share, value), g.dashed});
  chart.labels = false;
  chart.include = include;
  return figure({title, line_chart(chart), ""});
}

bool same_classes(const std::vector<RunData>& runs) {
  return std::ranges::all_of(runs, [&](const RunData& r) {
    const EpochRow* last = r.last_evaluated();
    return r.data && r.data->classes == runs[0].data->classes && last && last->test->per_class.size() == r.classes();
  });
}

// The mean recall of a class over the runs of a group.
double mean_recall(const std::vector<RunData>& runs, const Group& group, size_t c) {
  const bool any = std::ranges::any_of(group.runs, [&](size_t i) { return runs[i].finished(); });
  std::vector<double> recalls;  // of the finished runs, as in the table, if there are any
  for (const size_t i : group.runs)
    if (!any || runs[i].finished()) recalls.push_back(runs[i].last_evaluated()->test->per_class[c]);
  return spread_of(recalls).mean;
}

// The classes from the largest to the smallest in this run; classes of one size in their own order.
std::vector<size_t> by_size(const RunData& run) {
  std::vector<size_t> order(run.classes());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, std::greater<>{}, [&](size_t c) { return run.class_size(c); });
  return order;
}

std::string class_dots(const std::vector<RunData>& runs, const std::vector<Group>& groups) {
  RowChart chart{.description = "Accuracy of each class in every group of runs",
                 .x_name = "recall, %",
                 .x = {.least = 0, .most = 100}};
  for (const Group& g : groups) chart.colours.push_back(g.colour);
  for (const size_t c : by_size(runs[0])) {
    RowChart::Row row{runs[0].class_name(c), {}, runs[0].class_name(c) + ":"};
    for (const Group& g : groups) {
      row.values.push_back(100 * mean_recall(runs, g, c));
      row.title += fmt::format("\n{}: {} %", g.name, decimal(row.values.back(), 1));
    }
    chart.rows.push_back(std::move(row));
  }
  return figure(
      {"Accuracy by class", row_chart(chart),
       "Test recall at the end, the mean over the seeds; classes by size in the first run, the largest at the top."});
}

// For many classes: recall against class size.
std::string class_lines(const std::vector<RunData>& runs, const std::vector<Group>& groups) {
  LineChart chart{.description = "Accuracy of the classes against their size in every group of runs",
                  .x_name = "training images in the first run",
                  .y_name = "recall, %",
                  .x = {.log = true},
                  .y = {.least = 0, .most = 100}};
  chart.labels = false;
  for (const Group& g : groups) {
    Series s{g.name, g.colour, {}, g.dashed};
    for (const size_t c : by_size(runs[0])) {
      const double recall = mean_recall(runs, g, c);
      s.points.push_back({static_cast<double>(runs[0].class_size(c)), 100 * recall,
                          fmt::format("{}, {}: {} %", g.name, runs[0].class_name(c), percent(recall, 1))});
    }
    chart.series.push_back(std::move(s));
  }
  return figure({"Accuracy by class size", line_chart(chart), "Test recall at the end, the mean over the seeds."});
}

std::string by_class(const std::vector<RunData>& runs, const std::vector<Group>& groups) {
  if (!runs[0].data || !same_classes(runs)) return {};
  if (runs[0].classes() <= kMostClassRows) return class_dots(runs, groups);
  const auto order = by_size(runs[0]);
  const bool one_size = runs[0].class_size(order.front()) == runs[0].class_size(order.back());
  return one_size ? "" : class_lines(runs, groups);
}

std::string curves(const std::vector<RunData>& runs, const std::vector<Group>& groups) {
  std::string legend = "<ul class=\"legend\">";
  for (const Group& g : groups)
    legend += fmt::format("<li><i class=\"key {}\" style=\"--c:{}\"></i>{}</li>", g.dashed ? "dashed" : "line",
                          g.colour, escape(g.name));
  const auto plot = [&](const char* title, const char* y_name, bool share, const EpochValue& value,
                        Range include = {}) { return curve(runs, groups, title, y_name, share, value, include); };
  const std::string html = figures(
      {plot("Test top-1", "top-1, %", true, test_value(&EpochMetrics::top1)),
       plot("Balanced accuracy", "balanced, %", true, test_value(&EpochMetrics::balanced)),
       plot("Worst class", "recall, %", true, test_value(&EpochMetrics::worst_class)),
       plot("Few-shot classes", "mean recall, %", true, test_value(&EpochMetrics::few)),
       plot("Held-out top-1", "top-1, %", true, [](const EpochRow& r) { return r.val ? r.val->top1 : kAbsent; }),
       by_class(runs, groups), plot("Training top-1", "top-1, %", true, [](const EpochRow& r) { return r.train_top1; }),
       plot("Training loss", "the loss that each run minimises", false, [](const EpochRow& r) { return r.train_loss; }),
       plot("Test loss", "cross entropy", false, test_value(&EpochMetrics::loss)),
       plot("Effective sample fraction", "(Σp)² ÷ (B Σp²)", false,
            [](const EpochRow& r) { return r.effective_fraction; }, {0.9, 1}),
       plot("Weight sum", "Σ p", false, [](const EpochRow& r) { return r.weight_sum; }, {0.9, 1.1})});
  if (html.empty()) return section("Curves", "curves", note("No run has an epoch yet."));
  return section("Curves", "curves", legend + "</ul>\n" + html);
}

std::string setting_differences(const std::vector<RunData>& runs, const SettingsTable& settings) {
  Table t{.head = {"Setting"}, .words = runs.size() + 1};
  for (const RunData& r : runs) t.head.push_back(r.name);
  for (size_t k = 0; k < settings[0].size(); k++) {
    if (settings[0][k].key == "train.output" || !differs(settings, k)) continue;
    t.rows.push_back({settings[0][k].key});
    for (const auto& of_run : settings) t.rows.back().push_back(of_run[k].value);
  }
  return section("Settings that differ", "settings",
                 t.rows.empty() ? note("None: the runs have the same settings.") : table(t));
}

}  // namespace

std::string comparison(const std::vector<RunData>& runs) {
  SettingsTable settings;
  for (const RunData& r : runs) settings.push_back(settings_of(r.config));
  const auto groups = groups_of(runs, settings);
  std::string out = "<header>\n<p class=\"eyebrow\">Fulcrum · comparison of runs</p>\n";
  out += fmt::format("<h1>{} runs</h1>\n<p class=\"lead\">", runs.size());
  for (size_t g = 0; g < groups.size(); g++) out += (g ? "; " : "") + escape(groups[g].name);
  out += "</p>\n";
  for (const RunData& r : runs) {
    if (!r.finished())
      out += note(fmt::format("{} is not finished: {} of {} epochs.", r.name, r.done(), r.config.train.epochs));
    if (r.torn) out += note(fmt::format("The last line of metrics.jsonl of {} is incomplete and is left out.", r.name));
  }
  return out + "</header>\n" + results(runs, groups) + curves(runs, groups) + setting_differences(runs, settings);
}

}  // namespace fulcrum::apps
