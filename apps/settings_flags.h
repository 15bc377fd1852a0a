// SettingsFlags: a run's settings on a command line.
//
//   SettingsFlags settings;
//   settings.add_to(*app);                  // --recipe, --set and a flag for each of the common keys
//   const Config config = settings.resolve();
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "apps/config.h"

namespace CLI {
class App;
}

namespace fulcrum::apps {

/// What FULCRUM_DATA_DIR, FULCRUM_OUTPUT, FULCRUM_DEVICE and FULCRUM_THREADS say, where they are set.
void read_environment(Config& config);

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

}  // namespace fulcrum::apps
