// What the finished cells of a grid say: mean ± sd over the seeds, beside the published figures.
//
//   const GridResults results = collect(grid, cells);
//   write_results(grid, results, "runs/grid");   // grid.json, grid.md, report.html
//   results.missing.empty();
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "apps/grid/cells.h"
#include "apps/grid/grid.h"
#include "apps/spread.h"

namespace fulcrum::apps {

/// A published figure and what our runs have to say about it.
struct Comparison {
  PublishedFigure figure;
  double difference = 0;       // our mean at its epoch − the figure; of the last where it has none
  bool beyond_two_sd = false;  // |difference| > 2 sd of our seeds, of at least two
};

/// A variant and a method, over the seeds that are finished: at least one.
struct GridRow {
  std::string variant, method, title;
  std::vector<const Cell*> cells;
  std::map<std::string, Spread> last;        // by metric, those of the last epoch
  std::vector<double> last_top1, best_top1;  // on the test set, a number a seed
  Spread best;                               // of best_top1
  std::string selected_on;                   // the data that chose the best epoch: test, or val
  std::vector<Comparison> published;
};

struct GridResults {
  std::vector<GridRow> rows;
  std::vector<const Cell*> missing;
  std::vector<std::string> commits;  // of the programs that trained the cells
  std::vector<std::string> changed;  // "key=value" that the command set otherwise than the grid
  std::vector<std::string>
      other_data;  // names of cells that were tested on other images than the first of their variant
  /// Whether the runs are those of the grid's protocol, so that published figures can be compared with them.
  bool as_published = true;
};

GridResults collect(const Grid& grid, const std::vector<Cell>& cells);

/// Depends on the runs' numbers alone: no times, no paths.
nlohmann::json to_json(const Grid& grid, const GridResults& results);
/// Tables that are read as well in a terminal.
std::string to_markdown(const Grid& grid, const GridResults& results);
/// A page that needs nothing else; it links to the cells' own reports.
std::string grid_page(const Grid& grid, const GridResults& results, const std::filesystem::path& output);

/// "Trained for 200 epochs."; what the command changed of the protocol, and a warning where the epochs were cut short.
std::string length_text(const GridResults& results);
/// A warning for other_data; empty where there are none.
std::string other_data_text(const GridResults& results);

/// All three files, atomically.
void write_results(const Grid& grid, const GridResults& results, const std::filesystem::path& output);

// ---- shared with the sweep ----

/// "71.23 ± 0.31", or "71.23" of one seed; shares in percent.
std::string spread_text(const Spread& spread);
/// A table with columns of equal width.
std::string markdown_table(const std::vector<std::string>& head, const std::vector<std::vector<std::string>>& rows);
/// The commits in the env.json of the cells that are done.
std::vector<std::string> commits_of(const std::vector<Cell>& cells);

}  // namespace fulcrum::apps
