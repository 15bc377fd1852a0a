#include "apps/grid/shared_epochs.h"

#include <fstream>

#include <fmt/format.h>

#include <fulcrum/core/serialize.h>

namespace fulcrum::apps {

namespace {

namespace fs = std::filesystem;

constexpr const char* kPrefix = "epochs-";

bool risk_is_late(const Config& c, int64_t epoch) { return c.risk.name != "mean" && epoch < c.risk.from_epoch; }
bool weights_are_late(const Config& c, int64_t epoch) {
  return c.loss.class_weights != "none" && epoch < c.loss.drw_epoch;
}

// What an epoch is trained with, without what has not begun: the settings of two runs that are equal here give the
// same numbers in this epoch.
Config settings_in(const Config& c, int64_t epoch) {
  Config now = c;
  now.train.output.clear();
  if (weights_are_late(c, epoch)) {
    const LossSettings none;
    now.loss.class_weights = none.class_weights;
    now.loss.cb_beta = none.cb_beta;
    now.loss.cb_max_count = none.cb_max_count;
    now.loss.drw_epoch = none.drw_epoch;
    now.loss.on_weighted = none.on_weighted;
  }
  if (risk_is_late(c, epoch)) {
    now.risk = RiskSettings{};
    now.risk.normalize = "batch";  // until it begins, a risk is the plain mean, also under class weights
  }
  if (now.risk.name == "mean" && now.loss.class_weights == "none") now.risk.normalize = "batch";
  return now;
}

bool same_in(const Config& a, const Config& b, int64_t epoch) {
  return differences(settings_in(a, epoch), settings_in(b, epoch), {}).empty();
}

// Epochs at which something of the run begins.
std::set<int64_t> late_starts(const Config& c) {
  std::set<int64_t> epochs;
  if (weights_are_late(c, 0)) epochs.insert(c.loss.drw_epoch);
  if (risk_is_late(c, 0)) epochs.insert(c.risk.from_epoch);
  return epochs;
}

bool may_share(const Cell& a, const Cell& b) { return &a != &b && a.seed == b.seed && a.variant == b.variant; }

fs::path kept_path(const Cell& cell, int64_t epochs) { return cell.directory() / (kPrefix + std::to_string(epochs)); }

// What lies in the cell's directory, by its number of epochs.
std::set<int64_t> kept_epochs(const Cell& cell) {
  std::set<int64_t> found;
  if (!fs::is_directory(cell.directory())) return found;
  for (const auto& entry : fs::directory_iterator(cell.directory())) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(kPrefix)) continue;
    const std::string number = name.substr(std::string(kPrefix).size());
    // A copy that was cut short has another name.
    if (!number.empty() && number.find_first_not_of("0123456789") == std::string::npos)
      found.insert(std::stoll(number));
  }
  return found;
}

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// The files of a run but its lock, and its page, which is written again.
void copy_run(const fs::path& from, const fs::path& to) {
  fs::remove_all(to);
  fs::create_directories(to);
  for (const auto& entry : fs::directory_iterator(from)) {
    const fs::path name = entry.path().filename();
    if (entry.is_regular_file() && name != ".lock" && name != "report.html")
      write_file_atomically(to / name, {read_file(entry.path())});
  }
}

fs::path unfinished(fs::path path) { return path += ".part"; }

// The longest that another cell has kept for this one.
std::optional<SharedEpochs> longest_kept(const Cell& cell, const std::vector<Cell>& cells) {
  std::optional<SharedEpochs> longest;
  for (const Cell& other : cells) {
    if (!may_share(other, cell)) continue;
    const int64_t common = common_epochs(other.config, cell.config);
    for (const int64_t epochs : kept_epochs(other))
      if (epochs <= common && (!longest || epochs > longest->epochs)) longest = {&other, epochs};
  }
  return longest;
}

bool waits(const Cell& cell) { return cell_state(cell).kind == CellState::kWaiting; }

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
  copy_run(cell.directory(), part);
  fs::remove_all(kept);
  fs::rename(part, kept);
}

std::optional<SharedEpochs> take_epochs(const Cell& cell, const std::vector<Cell>& cells) {
  if (!waits(cell)) return std::nullopt;
  const auto shared = longest_kept(cell, cells);
  if (!shared) return std::nullopt;
  const fs::path part = unfinished(cell.directory());
  copy_run(kept_path(*shared->from, shared->epochs), part);
  write_file_atomically(part / "config.toml", {to_toml(cell.config)});
  std::ofstream(part / "log.txt", std::ios::app)
      << fmt::format("the first {} epochs are those of {}, whose settings are the same until then\n", shared->epochs,
                     shared->from->name());
  fs::remove_all(cell.directory());
  fs::rename(part, cell.directory());
  return shared;
}

std::optional<SharedEpochs> expected_epochs(const std::vector<Cell>& cells, size_t index) {
  const Cell& cell = cells[index];
  if (!waits(cell)) return std::nullopt;
  auto longest = longest_kept(cell, cells);
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
  for (const Cell& cell : cells)
    for (const int64_t epochs : kept_epochs(cell)) {
      bool is_needed = false;
      for (const Cell& other : cells)
        is_needed =
            is_needed || (may_share(cell, other) && waits(other) && common_epochs(cell.config, other.config) >= epochs);
      if (!is_needed) fs::remove_all(kept_path(cell, epochs));
    }
}

}  // namespace fulcrum::apps
