// The results of a grid's finished cells: mean ± sd over the seeds, beside the published figures.
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

/// A published figure and how our runs compare with it.
struct Comparison {
  PublishedFigure figure;
  double difference = 0;       // our mean at its epoch (if unknown: at the last) − the figure
  bool beyond_two_sd = false;  // |difference| > 2 sd of our seeds, if there are at least two
};

/// A variant and a method, over the finished seeds, of which there is at least one.
struct GridRow {
  std::string variant, method, title;
  std::vector<const Cell*> cells;
  std::map<std::string, Spread> last;        // by metric, of the last epoch
  std::vector<double> last_top1, best_top1;  // on the test set, one number a seed
  Spread best;                               // of best_top1
  std::string selected_on;                   // the data that chose the best epoch: test, or val
  std::vector<Comparison> published;
};

struct GridResults {
  std::vector<GridRow> rows;
  std::vector<const Cell*> missing;
  std::vector<std::string> commits;     // of the builds that trained the cells
  std::vector<std::string> changed;     // "key=value" that the command set differently from the grid
  std::vector<std::string> other_data;  // cells tested on other images than the first cell of their variant
  /// Whether the runs follow the grid's protocol, so that published figures can be compared with them.
  bool as_published = true;
};

GridResults collect(const Grid& grid, const std::vector<Cell>& cells);

/// Depends only on the runs' numbers: contains no times and no paths.
nlohmann::json to_json(const Grid& grid, const GridResults& results);
/// Tables that are readable in a terminal, too.
std::string to_markdown(const Grid& grid, const GridResults& results);
/// A self-contained page, except for links to the cells' own reports.
std::string grid_page(const Grid& grid, const GridResults& results, const std::filesystem::path& output);

/// Whether any row has a published figure to compare with.
bool has_published(const GridResults& results);
/// "Trained for 200 epochs."; what the command changed of the protocol, and a warning where the epochs were cut short.
std::string length_text(const GridResults& results);
/// A warning for other_data; empty where there are none.
std::string other_data_text(const GridResults& results);

/// Writes all three files, each atomically.
void write_results(const Grid& grid, const GridResults& results, const std::filesystem::path& output);

// ---- shared with the sweep ----

/// "71.23 ± 0.31", or "71.23" for one seed; shares in percent.
std::string spread_text(const Spread& spread);
/// A table with columns of equal width.
std::string markdown_table(const std::vector<std::string>& head, const std::vector<std::vector<std::string>>& rows);
/// A paragraph of a page in `output`: the name, and a link to the report of each cell's run, by its seed.
std::string report_links(const std::string& name, const std::vector<const Cell*>& cells,
                         const std::filesystem::path& output);
/// The commits in the env.json of the cells that are done.
std::vector<std::string> commits_of(const std::vector<Cell>& cells);

}  // namespace fulcrum::apps
