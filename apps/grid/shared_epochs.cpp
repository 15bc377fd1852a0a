#include "apps/grid/shared_epochs.h"

#include <cstring>

#include <fulcrum/core/serialize.h>

#include "apps/checkpoint.h"
#include "apps/directory_lock.h"
#include "apps/run_directory.h"

namespace fulcrum::apps {

namespace {

namespace fs = std::filesystem;

// ---- what two runs have in common ----

bool risk_is_late(const Config& c, int64_t epoch) { return c.risk.name != "mean" && epoch < c.risk.from_epoch; }
bool weights_are_late(const Config& c, int64_t epoch) {
  return c.loss.class_weights != "none" && epoch < c.loss.drw_epoch;
}

// The settings, with those that have no effect in this epoch (some perhaps not yet) reset: runs that are equal here
// give the same numbers.
Config settings_in(const Config& c, int64_t epoch) {
  Config now = c;
  if (weights_are_late(c, epoch)) now.loss.class_weights = "none";
  if (now.loss.class_weights == "none") {
    const LossSettings none;
    now.loss.given_class_weights = none.given_class_weights;
    now.loss.cb_beta = none.cb_beta;
    now.loss.cb_max_count = none.cb_max_count;
    now.loss.drw_epoch = none.drw_epoch;
    now.loss.on_weighted = none.on_weighted;
  }
  const bool is_late = risk_is_late(c, epoch);
  if (is_late || c.risk.name == "mean") {
    now.risk = RiskSettings{};
    // Until a late risk begins, it is the plain mean, which does not divide by class weights. Without class weights
    // risk.normalize has no effect.
    now.risk.normalize = is_late || now.loss.class_weights == "none" ? "batch" : c.risk.normalize;
  }
  return now;
}

bool same_in(const Config& a, const Config& b, int64_t epoch) {
  return differences(settings_in(a, epoch), settings_in(b, epoch), free_settings()).empty();
}

// Epochs at which something of the run begins.
std::set<int64_t> late_starts(const Config& c) {
  std::set<int64_t> epochs;
  if (weights_are_late(c, 0)) epochs.insert(c.loss.drw_epoch);
  if (risk_is_late(c, 0)) epochs.insert(c.risk.from_epoch);
  return epochs;
}

bool may_share(const Cell& a, const Cell& b) { return &a != &b && a.seed == b.seed && a.variant == b.variant; }

bool waits(const Cell& cell) { return cell_state(cell).kind == CellState::kWaiting; }

// ---- copies of runs; a copy gets its final name only when it is complete ----

constexpr const char* kPrefix = "epochs-";

fs::path kept_path(const Cell& cell, int64_t epochs) { return cell.directory() / (kPrefix + std::to_string(epochs)); }

fs::path unfinished(fs::path path) { return path += ".part"; }

bool is_number(const std::string& text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
}

// What follows "epochs-" in the names of entries of the cell's directory.
std::vector<std::string> kept_names(const Cell& cell) {
  std::vector<std::string> names;
  if (!fs::is_directory(cell.directory())) return names;
  for (const auto& entry : fs::directory_iterator(cell.directory()))
    if (const std::string name = entry.path().filename().string(); name.starts_with(kPrefix))
      names.push_back(name.substr(std::strlen(kPrefix)));
  return names;
}

std::set<int64_t> kept_epochs(const Cell& cell) {
  std::set<int64_t> found;
  for (const std::string& name : kept_names(cell))
    if (is_number(name)) found.insert(std::stoll(name));
  return found;
}

void copy_whole_file(const fs::path& from, const fs::path& to) {
  const std::string text = read_text_file(from);
  write_file_atomically(to, {text});
}

// Copies the files of a run, except for its lock, its page (which is written anew) and the checkpoint before the last.
void copy_run(const fs::path& from, const fs::path& to) {
  fs::remove_all(to);
  fs::create_directories(to);
  for (const auto& entry : fs::directory_iterator(from)) {
    const fs::path name = entry.path().filename();
    const bool is_left = name == ".lock" || name == "report.html" || name == "previous.safetensors";
    if (entry.is_regular_file() && !is_left && name.extension() != ".tmp") copy_whole_file(entry.path(), to / name);
  }
}

void remove_run(const fs::path& path) {
  std::error_code error;
  fs::remove_all(unfinished(path), error);
  fs::rename(path, unfinished(path), error);
  fs::remove_all(unfinished(path), error);
}

// Whether the copy has the epochs that its name says, of a run that equals the cell's so far.
bool fits(const fs::path& kept, int64_t epochs, const Cell& cell) {
  try {
    const RunProgress progress = stored_progress(kept / "last.safetensors");
    return progress.epoch == epochs && progress.batch == 0 && common_epochs(stored_config(kept), cell.config) >= epochs;
  } catch (const Error&) {
    return false;
  }
}

// The longest copy that another cell has kept for this one.
std::optional<SharedEpochs> longest_kept(const Cell& cell, const std::vector<Cell>& cells) {
  std::optional<SharedEpochs> longest;
  for (const Cell& other : cells) {
    if (!may_share(other, cell)) continue;
    for (const int64_t epochs : kept_epochs(other))
      if ((!longest || epochs > longest->epochs) && fits(kept_path(other, epochs), epochs, cell))
        longest = {&other, epochs};
  }
  return longest;
}

}  // namespace

int64_t common_epochs(const Config& a, const Config& b) {
  if (!same_in(a, b, 0)) return 0;
  std::set<int64_t> starts = late_starts(a);
  starts.merge(late_starts(b));
  for (const int64_t epoch : starts)
    if (epoch < a.train.epochs && !same_in(a, b, epoch)) return epoch;
  return a.train.epochs;
}

std::set<int64_t> epochs_to_keep(const Cell& cell, const std::vector<Cell>& cells) {
  std::set<int64_t> marks;
  for (const Cell& other : cells) {
    if (!may_share(other, cell) || !waits(other)) continue;
    const int64_t epochs = common_epochs(cell.config, other.config);
    if (epochs > 0 && epochs < cell.config.train.epochs) marks.insert(epochs);
  }
  return marks;
}

void keep_epochs(const Cell& cell, int64_t epochs) {
  const fs::path kept = kept_path(cell, epochs), part = unfinished(kept);
  remove_run(kept);
  try {
    copy_run(cell.directory(), part);
    fs::rename(part, kept);
  } catch (...) {  // do not leave a full disk fuller
    std::error_code error;
    fs::remove_all(part, error);
    throw;
  }
}

std::optional<SharedEpochs> take_epochs(const Cell& cell, const std::vector<Cell>& cells) {
  if (!waits(cell)) return std::nullopt;
  const auto shared = longest_kept(cell, cells);
  if (!shared) return std::nullopt;
  const fs::path kept = kept_path(*shared->from, shared->epochs), part = unfinished(cell.directory());
  const std::string settings = to_toml(cell.config);
  const bool without_risk = risk_is_late(stored_config(kept), shared->epochs - 1);
  copy_run(kept, part);
  write_file_atomically(part / "config.toml", {settings});
  for (const char* file : {"last.safetensors", "best.safetensors"})
    if (fs::exists(part / file)) adopt_checkpoint(part / file, settings, without_risk);
  { const DirectoryLock nobody_trains_there(cell.directory()); }
  fs::remove_all(cell.directory());
  fs::rename(part, cell.directory());
  return shared;
}

std::optional<SharedEpochs> expected_epochs(const std::vector<Cell>& cells, size_t index,
                                            const std::vector<Cell>& grid) {
  const Cell& cell = cells[index];
  if (!waits(cell)) return std::nullopt;
  auto longest = longest_kept(cell, grid);
  for (size_t i = 0; i < index; i++) {
    if (!may_share(cells[i], cell)) continue;
    const int64_t epochs = common_epochs(cells[i].config, cell.config);
    const CellState state = cell_state(cells[i]);
    const bool to_come =
        state.kind == CellState::kWaiting || (state.kind == CellState::kStarted && state.epochs < epochs);
    if (to_come && epochs > 0 && epochs < cell.config.train.epochs && (!longest || epochs > longest->epochs))
      longest = {&cells[i], epochs};
  }
  return longest;
}

void drop_kept_epochs(const std::vector<Cell>& cells) {
  const auto is_needed = [&](const Cell& cell, int64_t epochs) {
    for (const Cell& other : cells)
      if (may_share(cell, other) && waits(other) && fits(kept_path(cell, epochs), epochs, other)) return true;
    return false;
  };
  std::error_code error;
  for (const Cell& cell : cells) {
    fs::remove_all(unfinished(cell.directory()), error);
    for (const std::string& name : kept_names(cell)) {
      if (!is_number(name)) fs::remove_all(cell.directory() / (kPrefix + name), error);
      else if (!is_needed(cell, std::stoll(name))) remove_run(kept_path(cell, std::stoll(name)));
    }
  }
}

}  // namespace fulcrum::apps
