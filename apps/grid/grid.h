// A grid of runs that reproduces a benchmark: methods × variants × seeds, and the published figures to compare with.
// Grids are TOML files in apps/grids, compiled in like the recipes; docs/reproducing.md describes their format.
//
//   const Grid grid = load_grid("cifar10-lt");
//   std::vector<Cell> cells = cells_of(grid, {.output = "runs/grid"}, flags);
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "apps/config.h"
#include "apps/grid/cells.h"
#include "apps/settings_flags.h"

namespace fulcrum::apps {

struct GridMethod {
  std::string name, title;
  std::vector<std::string> settings;  // "section.key=value"
};

/// An imbalance ratio, or a kind and rate of noise.
struct GridVariant {
  std::string name;
  std::vector<std::string> settings;
};

struct PublishedFigure {
  std::string variant, method;
  double top1 = 0;    // in [0, 1]
  std::string epoch;  // "last", "best", or empty: the source does not say
  std::string source, note;
};

struct Grid {
  std::string name, title, about, recipe;
  int64_t seeds = 3;
  std::vector<GridVariant> variants;
  std::vector<GridMethod> methods;
  std::vector<PublishedFigure> published;
};

/// A built-in grid, or a TOML file when `name` is a path that exists.
Grid load_grid(const std::string& name);
std::vector<std::string> grid_names();

struct GridOptions {
  std::filesystem::path output;
  std::vector<std::string> methods = {}, variants = {};  // empty: all
  int64_t seeds = 0;                                     // 0: the grid's
  int64_t epochs = 0;                                    // 0: the recipe's; else the schedule is scaled to them
  bool smoke = false;
};

/// The grid with only the methods and variants of the options, in the order of the options.
Grid selected(const Grid& grid, const GridOptions& options);

/// A cell for each variant, method and seed, seeds innermost, so that a table row is complete as soon as possible. The
/// loss and the risk are those of the method, whatever the recipe has; `flags` override everything.
std::vector<Cell> cells_of(const Grid& grid, const GridOptions& options, const SettingsFlags& flags);

/// Sets train.epochs and scales all other epochs in proportion: milestones, steps, warm-up, deferred class weights,
/// pruning and the start of the risk.
void scale_epochs(Config& config, int64_t epochs);

}  // namespace fulcrum::apps
