#include "apps/grid/sweep.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstring>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <fulcrum/core/serialize.h>

#include "apps/grid/table.h"
#include "apps/json_text.h"
#include "apps/make_directory.h"
#include "apps/metrics.h"
#include "apps/no_effect.h"
#include "apps/ranges.h"
#include "apps/report/text.h"
#include "apps/settings_flags.h"
#include "apps/smoke.h"

namespace fulcrum::apps {

namespace {

// Keys that are refused: other values would give each cell another held-out part, another metric, or the same run.
constexpr const char* kOtherPart = "changes the held-out part, so that the cells could not be compared";
constexpr const char* kSameResult = "does not change a result";
const std::pair<const char*, const char*> kRefused[] = {
    {"data.name", kOtherPart},
    {"data.dir", kOtherPart},
    {"data.train_list", kOtherPart},
    {"data.imb_type", kOtherPart},
    {"data.imb_factor", kOtherPart},
    {"data.n_max", kOtherPart},
    {"data.noise_type", kOtherPart},
    {"data.noise_rate", kOtherPart},
    {"data.noise_matrix", kOtherPart},
    {"data.val_fraction", kOtherPart},
    {"data.subset_seed", kOtherPart},
    {"data.train_split", kOtherPart},
    {"data.val_list", kOtherPart},
    {"data.eval_splits", kOtherPart},
    {"data.on_bad_image", kOtherPart},
    {"train.eval_metric", "is the measure by which the sweep selects"},
    {"train.seed", "is no setting to choose; --seeds N trains every cell with N seeds"},
    {"train.output", "is the sweep's: --output"},
    {"train.device", kSameResult},
    {"train.threads", kSameResult},
    {"train.log_interval", kSameResult},
    {"train.recovery_interval", kSameResult},
    {"train.recompute", kSameResult},
    {"data.cache_mb", kSameResult},
    {"data.workers", kSameResult}};

// Splits at commas outside of brackets and quotes.
std::vector<std::string> split_values(const std::string& text) {
  std::vector<std::string> values(1);
  int depth = 0;
  char quote = 0;
  for (const char c : text) {
    if (quote) quote = c == quote ? '\0' : quote;
    else if (c == '"' || c == '\'') quote = c;
    depth += !quote && c == '[' ? 1 : !quote && c == ']' ? -1 : 0;
    if (c == ',' && depth == 0 && !quote) values.emplace_back();
    else values.back() += c;
  }
  return values;
}

SweptKey swept_key(const std::string& assignment) {
  const size_t equals = assignment.find('=');
  if (equals == std::string::npos) usage("--grid: expected section.key=value,value,…, got '", assignment, "'");
  SweptKey swept{assignment.substr(0, equals), split_values(assignment.substr(equals + 1))};
  for (const auto& [key, why] : kRefused)
    if (swept.key == key) usage("--grid: ", key, " ", why);
  std::set<std::string> seen;
  for (const std::string& value : swept.values) {
    if (value.empty())
      usage("--grid: ", swept.key, ": expected values with commas between them, got '", assignment.substr(equals + 1),
            "'");
    if (!seen.insert(value).second) usage("--grid: ", swept.key, ": '", value, "' stands twice");
  }
  return swept;
}

// A folder name that is unique to the combination.
std::string folder_name(const std::vector<SweptKey>& keys, const std::vector<std::string>& values) {
  std::string name;
  for (size_t k = 0; k < keys.size(); k++) {
    if (k > 0) name += ",";
    for (const char c : keys[k].key + "=" + values[k])
      name += std::isalnum(static_cast<unsigned char>(c)) || std::strchr("._+-=", c)
                  ? std::string(1, c)
                  : fmt::format("%{:02x}", static_cast<unsigned char>(c));
  }
  return name;
}

std::string combination_text(const std::vector<SweptKey>& keys, const std::vector<std::string>& values) {
  std::string text;
  for (size_t k = 0; k < keys.size(); k++) text += (k ? " " : "") + keys[k].key + "=" + values[k];
  return text;
}

// Every combination, the last key fastest.
std::vector<std::vector<std::string>> combinations(const std::vector<SweptKey>& keys) {
  std::vector<std::vector<std::string>> all = {{}};
  for (const SweptKey& key : keys) {
    std::vector<std::vector<std::string>> longer;
    for (const auto& begun : all)
      for (const std::string& value : key.values) {
        longer.push_back(begun);
        longer.back().push_back(value);
      }
    all = std::move(longer);
  }
  return all;
}

// Refuses a key that has no effect in any cell (a parameter of a risk that none has), since all its cells would be the
// same run.
void refuse_without_effect(const Sweep& sweep) {
  for (const SweptKey& key : sweep.keys) {
    const auto has_none = [&](const Cell& c) { return !no_effect(key.key, c.config).empty(); };
    if (std::ranges::all_of(sweep.cells, has_none)) usage("--grid: ", no_effect(key.key, sweep.cells.front().config));
  }
}

std::string missing_text(const SweepResults& results) {
  if (results.missing.empty()) return {};
  std::string text = fmt::format("\nPartial: {} cells are missing.\n\n", results.missing.size());
  for (const Cell* cell : results.missing)
    text += fmt::format("- {}: {}\n", cell->name(), cell_state(*cell).text(*cell));
  return text;
}

std::vector<double> test_values(const SweepPoint& point, const char* metric) {
  std::vector<double> values;
  for (const Cell* cell : point.cells) values.push_back(cell_result(*cell)->at(metric).get<double>());
  return values;
}

nlohmann::json spread_json(const Spread& s) {
  return {{"mean", s.mean}, {"sd", s.count > 1 ? nlohmann::json(s.sd) : nlohmann::json()}, {"seeds", s.count}};
}

}  // namespace

Sweep make_sweep(const std::vector<std::string>& grid, const Config& base, const std::filesystem::path& output,
                 int64_t seeds, bool smoke) {
  Sweep sweep{.title = base.data.name,
              .metric = base.train.eval_metric,
              .val_fraction = base.data.val_fraction,
              .output = output,
              .seeds = seeds};
  if (grid.empty()) usage("--grid: expected at least one section.key=value,value,…");
  for (const std::string& assignment : grid) {
    sweep.keys.push_back(swept_key(assignment));
    const std::string& key = sweep.keys.back().key;
    if (std::ranges::count(sweep.keys, key, &SweptKey::key) > 1) usage("--grid: ", key, " stands twice");
  }
  double cells = static_cast<double>(seeds);
  for (const SweptKey& key : sweep.keys) cells *= static_cast<double>(key.values.size());
  if (cells > kMostCells) usage("--grid: expected at most ", kMostCells, " runs, got ", cells);
  for (const auto& values : combinations(sweep.keys))
    for (int64_t i = 0; i < seeds; i++) {
      Config config = base;
      for (size_t k = 0; k < values.size(); k++) set_key(config, sweep.keys[k].key + "=" + values[k], "--grid");
      finish(config);
      config.train.seed += i;
      config.train.output =
          (output / folder_name(sweep.keys, values) / fmt::format("seed{}", config.train.seed)).string();
      sweep.cells.push_back({"", combination_text(sweep.keys, values), config.train.seed, std::move(config)});
    }
  refuse_without_effect(sweep);
  if (smoke)
    for (Cell& cell : sweep.cells) shorten_for_smoke(cell.config);
  return sweep;
}

SweepResults collect(const Sweep& sweep) {
  SweepResults results;
  const auto all = combinations(sweep.keys);
  for (size_t p = 0; p < all.size(); p++) {
    SweepPoint point{all[p], {}, {}};
    std::vector<double> values;
    for (int64_t s = 0; s < sweep.seeds; s++) {
      const Cell& cell = sweep.cells[p * static_cast<size_t>(sweep.seeds) + static_cast<size_t>(s)];
      if (const auto result = cell_result(cell)) {
        point.cells.push_back(&cell);
        const auto& value = result->at("val").at(sweep.metric);
        values.push_back(value.is_number() ? value.get<double>() : std::nan(""));
      } else {
        results.missing.push_back(&cell);
      }
    }
    point.val = spread_of(values);
    results.points.push_back(std::move(point));
    const SweepPoint& last = results.points.back();
    const double mean = last.val.mean;
    // Combinations of which a seed is missing or diverged are not compared with the others.
    const bool whole = std::ssize(last.cells) == sweep.seeds;
    if (whole && !std::isnan(mean) &&
        (!results.best || is_better(sweep.metric, mean, results.points[*results.best].val.mean)))
      results.best = p;
  }
  return results;
}

bool as_good_as_best(const SweepResults& results, size_t point) {
  if (!results.best || point == *results.best) return false;
  const Spread &best = results.points[*results.best].val, &other = results.points[point].val;
  if (best.count < 2 || other.count < 2) return false;
  const auto squared_error = [](const Spread& s) { return s.sd * s.sd / static_cast<double>(s.count); };
  return std::abs(best.mean - other.mean) <= 2 * std::sqrt(squared_error(best) + squared_error(other));
}

std::string extent_text(const Sweep& sweep) {
  const auto plural = [](auto n, const char* what) { return fmt::format("{} {}{}", n, what, n == 1 ? "" : "s"); };
  const auto [least, most] = std::ranges::minmax(sweep.cells, {}, [](const Cell& c) { return c.config.train.epochs; });
  const int64_t from = least.config.train.epochs, to = most.config.train.epochs;
  return fmt::format("{}, {} each, {}{} per run.", plural(std::ssize(sweep.cells) / sweep.seeds, "combination"),
                     plural(sweep.seeds, "seed"), from == to ? "" : fmt::format("{} to ", from), plural(to, "epoch"));
}

std::string test_text(const Sweep& sweep, const SweepPoint& point) {
  const auto text = [&](const char* metric) { return spread_text(spread_of(test_values(point, metric))) + " %"; };
  std::string all = "top-1 " + text("top1");
  if (sweep.metric == "balanced") all += ", balanced " + text("balanced");
  if (sweep.metric == "macro_f1") all += ", macro F1 " + text("macro_f1");
  if (sweep.metric == "loss")
    all += fmt::format(", loss {}", metric_text(sweep, spread_of(test_values(point, "loss"))));
  return all;
}

std::vector<std::string> settings_words(const Sweep& sweep, const SweepPoint& point) {
  std::vector<std::string> words;
  for (size_t k = 0; k < sweep.keys.size(); k++)
    words.insert(words.end(), {"--set", sweep.keys[k].key + "=" + point.values[k]});
  return words;
}

std::string held_out_text(const Sweep& sweep) {
  if (sweep.val_fraction == 0) return "the part val";
  return fmt::format("the {} % of the training set that is held out", percent(sweep.val_fraction, 0));
}

std::string metric_text(const Sweep& sweep, const Spread& s) {
  if (s.count == 0) return kUndefined;
  if (sweep.metric != "loss") return spread_text(s);
  return s.count > 1 ? decimal(s.mean, 4) + " ± " + decimal(s.sd, 4) : decimal(s.mean, 4);
}

nlohmann::json to_json(const Sweep& sweep, const SweepResults& results, const std::string& command) {
  nlohmann::json points = nlohmann::json::array(), missing = nlohmann::json::array(), best;
  const auto named = [&](const SweepPoint& p) {
    nlohmann::json values = nlohmann::json::object();
    for (size_t k = 0; k < sweep.keys.size(); k++) values[sweep.keys[k].key] = p.values[k];
    return values;
  };
  for (const SweepPoint& p : results.points)
    if (p.val.count > 0) points.push_back({{"settings", named(p)}, {"val", spread_json(p.val)}});
  if (results.best) {
    const SweepPoint& p = results.points[*results.best];
    best = {{"settings", named(p)},
            {"val", spread_json(p.val)},
            {"test",
             {{"top1", spread_json(spread_of(test_values(p, "top1")))},
              {"balanced", spread_json(spread_of(test_values(p, "balanced")))}}},
            {"command", command}};
  }
  for (const Cell* cell : results.missing) missing.push_back(cell->name());
  return {{"metric", sweep.metric}, {"val_fraction", sweep.val_fraction}, {"points", points}, {"best", best},
          {"missing", missing},     {"commits", commits_of(sweep.cells)}};
}

std::string to_markdown(const Sweep& sweep, const SweepResults& results, const std::string& command) {
  std::vector<std::string> head;
  for (const SweptKey& key : sweep.keys) head.push_back(key.key);
  head.insert(head.end(), {"seeds", sweep.metric + " on the held-out part", ""});
  std::vector<std::vector<std::string>> rows;
  bool close = false;
  for (size_t p = 0; p < results.points.size(); p++) {
    const SweepPoint& point = results.points[p];
    rows.push_back(point.values);
    rows.back().insert(rows.back().end(), {std::to_string(point.val.count), metric_text(sweep, point.val),
                                           results.best == p             ? "best"
                                           : as_good_as_best(results, p) ? "≈ best"
                                                                         : ""});
    close = close || as_good_as_best(results, p);
  }
  std::string text = fmt::format("# Sweep on {}\n\n{} Selected after the last epoch, on {}.\n\n", sweep.title,
                                 extent_text(sweep), held_out_text(sweep)) +
                     markdown_table(head, rows);
  if (close) text += fmt::format("\n≈ best: {}.\n", kAsGood);
  text += missing_text(results);
  if (results.best) {
    const SweepPoint& p = results.points[*results.best];
    text += fmt::format("\nThe best{}: {}. On the test set, not used for the choice: {}.\n\n    {}\n",
                        results.missing.empty() ? "" : " so far", combination_text(sweep.keys, p.values),
                        test_text(sweep, p), command);
  }
  if (const auto commits = commits_of(sweep.cells); !commits.empty())
    text += fmt::format("\nTrained by commit {}\n", fmt::join(commits, " "));
  return text;
}

void write_sweep(const Sweep& sweep, const SweepResults& results, const std::string& command) {
  make_directory(sweep.output, "sweep");
  const std::string json = json_text(to_json(sweep, results, command), 2) + "\n";
  const std::string markdown = to_markdown(sweep, results, command);
  const std::string page = sweep_page(sweep, results, command);
  write_file_atomically(sweep.output / "sweep.json", {json});
  write_file_atomically(sweep.output / "sweep.md", {markdown});
  write_file_atomically(sweep.output / "report.html", {page});
}

}  // namespace fulcrum::apps
