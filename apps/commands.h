// The subcommands: each registers itself with the command line.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <fulcrum/core/types.h>

#include "apps/config.h"

namespace CLI {
class App;
}

namespace fulcrum::apps {

/// What runs after the command line has been read; returns the exit code.
using Command = std::function<int()>;

void add_train_command(CLI::App& app, Command& command);
void add_eval_command(CLI::App& app, Command& command);
void add_predict_command(CLI::App& app, Command& command);
void add_export_command(CLI::App& app, Command& command);
void add_lr_find_command(CLI::App& app, Command& command);
void add_doctor_command(CLI::App& app, Command& command);
void add_completion_command(CLI::App& app, Command& command);
void add_man_command(CLI::App& app, Command& command);
void add_bench_command(CLI::App& app, Command& command);
void add_info_command(CLI::App& app, Command& command);
void add_report_command(CLI::App& app, Command& command);
void add_data_command(CLI::App& app, Command& command);
void add_reproduce_command(CLI::App& app, Command& command);
void add_sweep_command(CLI::App& app, Command& command);

/// Settings from the command line, in the order default < recipe < environment < flags.
class SettingsFlags {
 public:
  /// Registers --recipe, --set and a flag for each of the common keys.
  void add_to(CLI::App& app);
  /// The same with --set, and flags for these keys alone.
  void add_some_to(CLI::App& app, const std::vector<std::string>& keys);
  /// The configuration; `base` replaces the defaults (a run that is resumed).
  Config resolve(const Config& base = {}) const;
  const std::string& recipe() const { return recipe_; }
  bool empty() const { return recipe_.empty() && assignments_.empty(); }
  /// Whether the command line sets the key.
  bool has(const std::string& key) const;
  /// What the command line sets and `resolved`, made from it, does not use, in words.
  std::vector<std::string> without_effect(const Config& resolved) const;
  /// The words that give the recipe and the settings again, but for those of `without`.
  std::vector<std::string> words(const std::vector<std::string>& without) const;

 private:
  void add_flags(CLI::App& app, const std::function<bool(const std::string& key)>& wanted);
  std::string recipe_;
  struct Assignment {
    std::string flag, text;
  };
  std::vector<Assignment> assignments_;
};

/// Applies train.threads and returns the number of threads in use.
int use_threads(const Config& config);
/// Refuses a device that this build or machine cannot serve; takes its options.
void use_device(const TrainSettings& settings);
/// "AMD EPYC, AVX2, oneDNN 2.6.2, 2 threads".
std::string backend_text(Device device, int threads);

}  // namespace fulcrum::apps
