// A sweep: a run for each combination of the values of some keys; the best one is chosen on a held-out part of the
// training set.
//
//   Sweep sweep = make_sweep({"risk.lambda=0.5,1,2", "risk.gamma=0.5,0.9"}, base, "runs/sweep", 1);
//   run_cells(sweep.cells, sweep.cells, [] {});
//   write_sweep(sweep, collect(sweep), "fulcrum train …");   // sweep.json, sweep.md, report.html
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "apps/grid/cells.h"
#include "apps/spread.h"

namespace fulcrum::apps {

struct SweptKey {
  std::string key;
  std::vector<std::string> values;  // as given
};

struct Sweep {
  std::vector<SweptKey> keys = {};
  std::string title;        // its recipe or data set
  std::string metric;       // train.eval_metric: top1, balanced, macro_f1 or loss
  double val_fraction = 0;  // 0: the data have a part val
  std::filesystem::path output;
  int64_t seeds = 1;
  std::vector<Cell> cells = {};  // combinations, the last key fastest; seeds innermost
};

/// `grid` holds "section.key=value,value,…"; commas in brackets and quotes are part of a value. Throws UsageError for
/// keys that do not exist, are given twice, or would change the data or the metric to select on. `smoke` shortens every
/// cell.
Sweep make_sweep(const std::vector<std::string>& grid, const Config& base, const std::filesystem::path& output,
                 int64_t seeds, bool smoke = false);

struct SweepPoint {
  std::vector<std::string> values;  // of the keys
  std::vector<const Cell*> cells;   // the finished ones
  Spread val;                       // of the metric after the last epoch, on the held-out part
};

struct SweepResults {
  std::vector<SweepPoint> points;  // every combination, also those without a finished run
  std::optional<size_t> best;      // of those whose runs are all finished
  std::vector<const Cell*> missing;
};
SweepResults collect(const Sweep& sweep);

inline constexpr const char* kAsGood = "its mean is within two standard errors of the difference to the best";

/// Whether a combination cannot be told apart from the best: their means differ by at most two standard errors of the
/// difference. False for the best itself, and where either has fewer than two seeds.
bool as_good_as_best(const SweepResults& results, size_t point);

/// "12 combinations, 2 seeds each, 30 epochs a run."
std::string extent_text(const Sweep& sweep);
/// "top-1 91.20 ± 0.31 %, balanced 88.10 ± 0.40 %" of the chosen combination on the test set; the second where the sweep
/// selects by another metric than top-1.
std::string test_text(const Sweep& sweep, const SweepPoint& point);

/// "--set risk.lambda=2 --set risk.gamma=0.9".
std::vector<std::string> settings_words(const Sweep& sweep, const SweepPoint& point);

/// Contains test metrics only for the chosen combination.
nlohmann::json to_json(const Sweep& sweep, const SweepResults& results, const std::string& command);
std::string to_markdown(const Sweep& sweep, const SweepResults& results, const std::string& command);
std::string sweep_page(const Sweep& sweep, const SweepResults& results, const std::string& command);

/// Writes all three files, each atomically.
void write_sweep(const Sweep& sweep, const SweepResults& results, const std::string& command);

/// What the sweep selects on: "the 10 % of the training set that are held out" or, for data that have one, "the part
/// val".
std::string held_out_text(const Sweep& sweep);

/// "71.23 ± 0.31" for a share, four decimals for a loss.
std::string metric_text(const Sweep& sweep, const Spread& spread);

}  // namespace fulcrum::apps
