// Cells of a grid that differ only in what begins late (deferred class weights, a risk) train the epochs before that
// once: the first of them keeps its directory as it was then, and the others begin with a copy.
//
//   common_epochs(cells[0].config, cells[1].config);          // 160
//   const std::set<int64_t> marks = epochs_to_keep(cells[0], cells);
//   trainer.run([&](int64_t epochs) { if (marks.contains(epochs)) keep_epochs(cells[0], epochs); });
//   if (const auto shared = take_epochs(cells[1], cells)) …   // its directory holds 160 epochs now
//   drop_kept_epochs(cells);                                  // those that no cell waits for
//
// A cell is bit for bit what it would be alone. What is kept lies in the first cell's directory, as epochs-160.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <vector>

#include "apps/grid/cells.h"

namespace fulcrum::apps {

/// The epochs from the first on in which both train the same: 0 where they differ at once, all where they never do.
int64_t common_epochs(const Config& a, const Config& b);

struct SharedEpochs {
  const Cell* from;
  int64_t epochs;
};

/// The numbers of epochs after which other cells, which have not begun, go on without this one.
std::set<int64_t> epochs_to_keep(const Cell& cell, const std::vector<Cell>& cells);

/// Copies the directory of a cell that has just finished so many epochs; where that fails, nothing is left.
void keep_epochs(const Cell& cell, int64_t epochs);

/// Fills the directory of a cell that has not begun with the most epochs that another one kept for it, as if it had
/// trained them itself; nothing where none did.
std::optional<SharedEpochs> take_epochs(const Cell& cell, const std::vector<Cell>& cells);

/// What cells[index] will begin with when all before it have been trained; cells of `grid` alone may have kept
/// epochs already.
std::optional<SharedEpochs> expected_epochs(const std::vector<Cell>& cells, size_t index,
                                            const std::vector<Cell>& grid);

/// Removes what no waiting cell of these can take, and what a killed process left half done.
void drop_kept_epochs(const std::vector<Cell>& cells);

}  // namespace fulcrum::apps
