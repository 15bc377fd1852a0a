// Cells of a grid that differ only in what begins late (deferred class weights, a risk) share the epochs before it: the
// first of the cells trains them and keeps a copy of its directory from then, and the others begin with that copy.
//
//   common_epochs(cells[0].config, cells[1].config);          // 160
//   const std::set<int64_t> marks = epochs_to_keep(cells[0], cells);
//   trainer.run([&](int64_t epochs) { if (marks.contains(epochs)) keep_epochs(cells[0], epochs); });
//   if (const auto shared = take_epochs(cells[1], cells)) …   // its directory holds 160 epochs now
//   drop_kept_epochs(cells);                                  // those that no cell waits for
//
// A cell's results are bit for bit those of a run of its own. The copy is in the first cell's directory, as epochs-160.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <vector>

#include "apps/grid/cells.h"

namespace fulcrum::apps {

/// The number of epochs, from the first on, in which both train the same: 0 if they differ at once, all if they never
/// do.
int64_t common_epochs(const Config& a, const Config& b);

struct SharedEpochs {
  const Cell* from;
  int64_t epochs;
};

/// The numbers of epochs of `cell` after which other cells, which have not begun, can continue on their own.
std::set<int64_t> epochs_to_keep(const Cell& cell, const std::vector<Cell>& cells);

/// Copies the directory of a cell that has just finished that many epochs; leaves nothing if that fails.
void keep_epochs(const Cell& cell, int64_t epochs);

/// Fills the directory of a cell that has not begun with the longest copy that another cell kept for it, as if it had
/// trained the epochs itself; returns nothing if there is none.
std::optional<SharedEpochs> take_epochs(const Cell& cell, const std::vector<Cell>& cells);

/// What cells[index] will begin with after all cells before it have been trained. Other cells of `grid` may also have
/// kept epochs for it already.
std::optional<SharedEpochs> expected_epochs(const std::vector<Cell>& cells, size_t index,
                                            const std::vector<Cell>& grid);

/// Removes the copies that none of these cells can still take, and what a killed process left unfinished.
void drop_kept_epochs(const std::vector<Cell>& cells);

}  // namespace fulcrum::apps
