#include "apps/grid/cells.h"

#include <map>
#include <set>

#include <fmt/format.h>

#include <fulcrum/core/serialize.h>

#include "apps/checkpoint.h"
#include "apps/commands.h"
#include "apps/directory_lock.h"
#include "apps/dry_run.h"
#include "apps/grid/shared_epochs.h"
#include "apps/losses.h"
#include "apps/progress.h"
#include "apps/report/report.h"
#include "apps/run_directory.h"
#include "apps/say.h"
#include "apps/trainer.h"
#include "apps/world.h"

namespace fulcrum::apps {

namespace {

namespace fs = std::filesystem;

// Equal for cells that have the same data.
std::string data_key(const Config& c) {
  Config data;
  data.data = c.data;
  return to_toml(data);
}

// Equal for cells that differ only in the seed: it draws other numbers, but makes no other experiment.
std::string experiment_key(const Config& c) {
  Config same = c;
  same.train.seed = 0;
  same.train.output.clear();
  return to_toml(same);
}

std::string model_key(const Config& c) {
  return fmt::format("{} {} {} {} {}", data_key(c), c.model.name, c.model.stem, c.train.batch_size, c.train.amp);
}

void refuse_other_settings(const Cell& cell) {
  const fs::path file = cell.directory() / "config.toml";
  if (cell_state(cell).kind == CellState::kWaiting || !fs::exists(file)) return;
  Config stored;
  load_toml(stored, read_text_file(file), file.string());
  const auto changed = differences(stored, cell.config, free_settings());
  if (changed.empty()) return;
  throw UsageError("cell " + cell.name() + ": " + cell.directory().string() +
                   " holds a run of other settings; give the same ones, or another --output:" + listed(changed));
}

// Calls use(data, cells with these data) for each data set of the unfinished cells, with one data set in memory at a
// time.
void for_each_data_set(const std::vector<Cell>& cells,
                       const std::function<void(const ExperimentData&, const std::vector<const Cell*>&)>& use) {
  std::vector<std::string> order;
  std::map<std::string, std::vector<const Cell*>> by_data;
  for (const Cell& cell : cells) {
    if (cell_state(cell).is_over()) continue;
    auto& members = by_data[data_key(cell.config)];
    if (members.empty()) order.push_back(data_key(cell.config));
    members.push_back(&cell);
  }
  for (const std::string& key : order) {
    const auto& members = by_data[key];
    try {
      use(load_data(members.front()->config.data), members);
    } catch (const UsageError&) {
      throw;
    } catch (const Error& e) {
      fail("cell ", members.front()->name(), ": ", e.what());
    }
  }
}

// How the cell starts: fresh, from its checkpoint, or from epochs that another cell kept for it.
Trainer::Start prepare(const Cell& cell, const std::vector<Cell>& cells) {
  if (fs::exists(cell.directory())) {
    const DirectoryLock nobody_trains_there(cell.directory());
    recover_checkpoint(cell.directory());
  }
  if (cell_state(cell).kind != CellState::kWaiting) return Trainer::Start::kResume;
  const auto shared = take_epochs(cell, cells);
  if (!shared) return Trainer::Start::kFresh;
  ProgressLine(1, cell.directory() / "log.txt")
      .print(fmt::format("the first {} epochs are copied from {}", shared->epochs, shared->from->name()));
  return Trainer::Start::kResumeChanged;
}

// Keeps the epochs; if there is no room for a copy, other cells train them themselves.
void keep_if_possible(const Cell& cell, int64_t epochs) {
  try {
    keep_epochs(cell, epochs);
  } catch (const std::exception& e) {
    say("warning: other cells will train the first {} epochs again: {}\n", epochs, e.what());
  }
}

// Writes the page of a run that was killed between its result and its page.
void write_missing_page(const Cell& cell) {
  const fs::path page = cell.directory() / "report.html";
  if (!fs::exists(page)) write_report({cell.directory()}, page);
}

void build(const Cell& cell, const ExperimentData& data) {
  try {
    const auto model = make_model(cell.config, *data.train);
    model->to(Device(cell.config.train.device), activation_dtype(cell.config));
    make_optimizer(cell.config, *model, data.class_counts);
    LossFunction(cell.config.loss, data.class_counts, data.train->size(), Device())
        .begin_epoch(cell.config.train.epochs);
    make_schedule(cell.config);
  } catch (const Error& e) {
    throw UsageError("cell " + cell.name() + ": " + e.what());
  }
}

}  // namespace

std::string Cell::name() const {
  return fmt::format("{}{}{} seed {}", variant, variant.empty() ? "" : " ", method, seed);
}

std::string CellState::text(const Cell& cell) const {
  switch (kind) {
    case kWaiting: return "not begun";
    case kStarted: return fmt::format("{} of {} epochs", epochs, cell.config.train.epochs);
    case kNonFinite: return fmt::format("non-finite numbers in epoch {}", epochs + 1);
    case kDone: break;
  }
  return "done";
}

CellState cell_state(const Cell& cell) {
  const fs::path directory = cell.directory();
  if (fs::exists(directory / "result.json")) return {CellState::kDone, cell.config.train.epochs};
  // A run that was killed before its first checkpoint begins anew.
  if (const auto progress = readable_progress(directory))
    return {progress->non_finite ? CellState::kNonFinite : CellState::kStarted, progress->epoch};
  return {};
}

std::optional<nlohmann::json> cell_result(const Cell& cell) {
  const fs::path file = cell.directory() / "result.json";
  if (!fs::exists(file)) return std::nullopt;
  const auto result = nlohmann::json::parse(read_text_file(file), nullptr, false);
  check(result.is_object() && result.contains("top1") && result.contains("best"), "[grid] ", file.string(),
        ": expected the result of a run; without this file the run goes on from its last checkpoint");
  return result;
}

void check_cells(const std::vector<Cell>& cells) {
  for (const Cell& cell : cells) refuse_other_settings(cell);
  for_each_data_set(cells, [&](const ExperimentData& data, const std::vector<const Cell*>& members) {
    std::set<std::string> built;
    for (const Cell* cell : members)
      if (built.insert(experiment_key(cell->config)).second) build(*cell, data);
  });
}

void refuse_directory_of_run(const fs::path& output) {
  if (fs::exists(output / "config.toml"))
    throw UsageError("--output: " + output.string() + " holds a run; expected another directory");
}

int run_cells(const std::vector<Cell>& cells, const std::vector<Cell>& grid, const std::function<void()>& after_each) {
  int code = kExitDone;
  drop_kept_epochs(grid);  // left by a command that was killed
  for (size_t i = 0; i < cells.size(); i++) {
    const Cell& cell = cells[i];
    const CellState state = cell_state(cell);
    if (state.kind == CellState::kDone) {
      write_missing_page(cell);
      continue;
    }
    if (state.kind == CellState::kNonFinite) {
      // The layers' statistics have seen the batch that failed: a run resumed from here would be another run.
      say("{}: {}; to try again, remove {}\n", cell.name(), state.text(cell), cell.directory().string());
      code = kExitNonFinite;
      continue;
    }
    say("cell {} of {}: {}, in {}\n", i + 1, cells.size(), cell.name(), cell.directory().string());
    const Trainer::Start start = prepare(cell, grid);
    const std::set<int64_t> marks = epochs_to_keep(cell, cells);
    Trainer trainer(cell.config, start, world());
    const TrainOutcome outcome = trainer.run([&](int64_t epochs) {
      if (marks.contains(epochs)) keep_if_possible(cell, epochs);
    });
    drop_kept_epochs(grid);
    after_each();
    if (outcome.exit_code == kExitNonFinite) code = kExitNonFinite;
    else if (outcome.exit_code != kExitDone) return outcome.exit_code;
  }
  return code;
}

void show_work(const std::vector<Cell>& cells, const std::vector<Cell>& grid) {
  std::map<std::string, RunCost> costs;
  double total = 0;
  int64_t waiting = 0;
  for (const Cell& cell : cells)
    if (const CellState state = cell_state(cell); state.is_over())
      fmt::print("{:<40} {}\n", cell.name(), state.text(cell));
  for_each_data_set(cells, [&](const ExperimentData& data, const std::vector<const Cell*>& members) {
    for (const Cell* cell : members) {
      const Config& c = cell->config;
      const auto [cost, is_new] = costs.try_emplace(model_key(c));
      if (is_new) cost->second = measure_cost(c, data);
      const CellState state = cell_state(*cell);
      const auto shared = expected_epochs(cells, static_cast<size_t>(cell - cells.data()), grid);
      const auto done = static_cast<double>(shared ? shared->epochs : state.epochs);
      const double seconds =
          (1 - done / static_cast<double>(c.train.epochs)) * estimated_seconds(c, data, cost->second);
      total += seconds;
      waiting++;
      fmt::print(
          "{:<40} {}; {} epochs of {} steps, {} training images{}: about {}\n", cell->name(), state.text(*cell),
          c.train.epochs, steps_of_epoch(c, std::ssize(data.train_indices)), data.train_indices.size(),
          shared ? fmt::format(", the first {} epochs copied from {}", shared->epochs, shared->from->name()) : "",
          duration_text(seconds));
    }
  });
  fmt::print("{} cells, {} to train: about {}\n", cells.size(), waiting, duration_text(total));
}

}  // namespace fulcrum::apps
