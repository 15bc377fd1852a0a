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

/// Applies FULCRUM_DATA_DIR, FULCRUM_OUTPUT, FULCRUM_DEVICE and FULCRUM_THREADS, where they are set.
void read_environment(Config& config);

/// Settings from the command line, in the order default < recipe < environment < flags. A flag and --set that give one
/// key two values are refused.
class SettingsFlags {
 public:
  using KeyFilter = std::function<bool(const std::string& key)>;
  /// Registers --recipe, --set and a flag for each of the common keys, or of those of them that the filter wants.
  void add_to(CLI::App& app, const KeyFilter& wanted = {});
  /// Registers --set, and flags only for these keys, with the switches among them.
  void add_some_to(CLI::App& app, const std::vector<std::string>& keys);
  /// The configuration; `base` replaces the defaults (of a run that is resumed).
  Config resolve(const Config& base = {}) const;
  const std::string& recipe() const { return recipe_; }
  bool empty() const { return recipe_.empty() && assignments_.empty(); }
  /// Whether the command line sets the key.
  bool has(const std::string& key) const;
  /// Throws UsageError if the command line sets a key for which `acts` is false. `where` ends "… has no effect".
  void refuse_without(const KeyFilter& acts, const std::string& where) const;
  /// Messages about settings on the command line that have no effect in `resolved`, which was made from it.
  std::vector<std::string> without_effect(const Config& resolved) const;
  /// The words of a command line that gives the same recipe and settings, except for the keys `without`.
  std::vector<std::string> words(const std::vector<std::string>& without) const;

 private:
  void add_flags(CLI::App& app, const KeyFilter& wanted);
  std::string recipe_;
  struct Assignment {
    std::string flag, text;
    std::string key() const;
    std::string words() const;  // as on the command line
  };
  void refuse_two_values() const;
  std::vector<Assignment> assignments_;
};

}  // namespace fulcrum::apps
