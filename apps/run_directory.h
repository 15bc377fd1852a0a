// RunDirectory: the files of a run beside its checkpoints (docs/recipes.md lists them all).
//
//   RunDirectory run("runs/first");
//   run.begin(config, data);                      // or run.resume(config, epoch)
//   run.add_epoch(row);                            // metrics.jsonl and TensorBoard
//   run.finish(result);
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "apps/config.h"
#include "apps/directory_lock.h"
#include "apps/experiment.h"
#include "apps/tensorboard.h"

namespace fulcrum::apps {

/// Settings that may differ between a run and its continuation without a change of its results.
const std::vector<std::string>& free_settings();

/// The name of a file in the directory that a run would replace or remove, config.toml first; nothing if there is none.
std::optional<std::string> file_of_run(const std::filesystem::path& directory);

/// The runs in a directory of runs, as --seeds, grids and sweeps leave it, in the order of their paths; none if it is a
/// run itself.
std::vector<std::filesystem::path> runs_below(const std::filesystem::path& directory);
/// Throws Error, which names a run, if that is what the directory is.
void refuse_directory_of_runs(const std::filesystem::path& directory);

/// The settings that the run's last checkpoint was made with.
Config stored_config(const std::filesystem::path& run);

class RunDirectory {
 public:
  /// Creates nothing yet, so that a run that is refused before it begins leaves no directory. If not `writes`, does
  /// nothing: another process writes.
  explicit RunDirectory(std::filesystem::path path, bool writes = true);
  bool writes() const { return writes_; }
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const char* file) const { return path_ / file; }

  /// Locks the directory against other processes; throws Error if one holds it. A resumed run must call this before it
  /// reads its checkpoint; begin() does so itself.
  void lock();
  /// Creates the directory, removes the files of an overwritten run, and writes what stays the same for the whole run.
  void begin(const Config& config, const ExperimentData& data);
  /// Writes the settings again and drops what an interrupted run wrote about the epochs from `epoch` on.
  void resume(const Config& config, int64_t epoch);
  /// Appends a line to metrics.jsonl, and its numbers as TensorBoard scalars of step epoch + 1.
  void add_epoch(const nlohmann::json& row);
  void finish(const nlohmann::json& result);

 private:
  void write_settings(const Config& config);
  std::filesystem::path path_;
  bool writes_;
  DirectoryLock lock_;
  std::unique_ptr<EventWriter> events_;
};

}  // namespace fulcrum::apps
