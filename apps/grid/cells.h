// The cells of a grid: runs in directories of their own, trained one after the other, each once. `reproduce` and
// `sweep` run them.
//
//   check_cells(cells);                                  // refuses before anything is trained
//   const int code = run_cells(cells, cells, [&] { write_tables(); });
//   cell_state(cells[0]).kind == CellState::kDone;
//
// A cell that was killed resumes from its last checkpoint, bit for bit. A finished cell is left as it is. A cell whose
// directory holds a run with other settings is refused. Epochs that several cells have in common are trained once
// (shared_epochs.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "apps/config.h"

namespace fulcrum::apps {

/// The most cells of a grid or sweep; more are taken for a mistake.
inline constexpr int64_t kMostCells = 10'000;

struct Cell {
  std::string variant, method;  // in a sweep: "" and the values of its keys
  int64_t seed = 0;
  Config config;  // finished; train.output is the cell's directory
  // Of a grid: what the command changed of its protocol.
  int64_t protocol_epochs = 0;
  std::vector<std::string> changed = {};  // "key=value"
  std::filesystem::path directory() const { return config.train.output; }
  /// "0.01 ldam-drw seed 1".
  std::string name() const;
};

struct CellState {
  enum Kind { kWaiting, kStarted, kDone, kNonFinite } kind = kWaiting;
  int64_t epochs = 0;                                                   // finished epochs
  bool is_over() const { return kind == kDone || kind == kNonFinite; }  // nothing is left to train
  std::string text(const Cell& cell) const;                             // "not begun", "3 of 10 epochs"
};
CellState cell_state(const Cell& cell);

/// result.json of a finished cell; nothing for others.
std::optional<nlohmann::json> cell_result(const Cell& cell);

/// Throws UsageError for a cell whose directory holds other settings, and for data, models and losses that cannot be
/// built. Loads each data set once.
void check_cells(const std::vector<Cell>& cells);

/// Throws UsageError if the directory is that of a run, whose page a grid would replace.
void refuse_directory_of_run(const std::filesystem::path& output);

/// Trains the cells that are not done; calls `after_each` when a cell has ended. `grid` holds all cells of the grid, of
/// which `cells` may be a part: epochs kept for any of them stay until that cell takes them. A cell that ends in
/// non-finite numbers does not stop the others. Returns the exit code: 0, 3 if a cell was not finite, or 128 + signal.
int run_cells(const std::vector<Cell>& cells, const std::vector<Cell>& grid, const std::function<void()>& after_each);

/// Prints on stdout what the unfinished cells will take: a line for each cell, then the sum. Measures three steps of
/// each model and batch size. `grid` as above.
void show_work(const std::vector<Cell>& cells, const std::vector<Cell>& grid);

}  // namespace fulcrum::apps
