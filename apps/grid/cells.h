// Cells of a grid: runs in directories of their own that are trained one after the other, each
// once. The runner of `reproduce` and of `sweep`.
//
//   check_cells(cells);                                  // refuses before anything is trained
//   const int code = run_cells(cells, cells, [&] { write_tables(); });
//   cell_state(cells[0]).kind == CellState::kDone;
//
// A cell that was killed goes on from its last checkpoint, bit for bit; a finished one is left as it
// is; one whose directory holds a run of other settings is refused. Epochs that several cells have in
// common are trained once (shared_epochs.h).
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

/// Of a grid or sweep: more are a slip.
inline constexpr int64_t kMostCells = 10'000;

struct Cell {
  std::string variant, method;  // of a sweep: "" and the values of its keys
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
  int64_t epochs = 0;                                                   // that are done
  bool is_over() const { return kind == kDone || kind == kNonFinite; }  // nothing is left to train
  std::string text(const Cell& cell) const;                             // "not begun", "3 of 10 epochs"
};
CellState cell_state(const Cell& cell);

/// result.json of a finished cell; nothing for others.
std::optional<nlohmann::json> cell_result(const Cell& cell);

/// UsageErrors for cells whose directory holds other settings, and for data, models and losses that
/// cannot be built. Loads each of the data sets once.
void check_cells(const std::vector<Cell>& cells);

/// A UsageError where the directory is a run's, whose page a grid would replace.
void refuse_directory_of_run(const std::filesystem::path& output);

/// Trains what is not done; `after_each` runs when a cell has ended. `grid` are the cells of which these are all or a part:
/// epochs that were kept for one of them stay until it takes them. A cell with non-finite numbers
/// does not keep the others from running. Returns the exit code: 0, 3 where a cell was not finite,
/// 128 + signal.
int run_cells(const std::vector<Cell>& cells, const std::vector<Cell>& grid, const std::function<void()>& after_each);

/// What the cells that are not done will take, printed on stdout: a line a cell, then the sum.
/// Measured on three steps of each model and batch size. `grid` as above.
void show_work(const std::vector<Cell>& cells, const std::vector<Cell>& grid);

}  // namespace fulcrum::apps
