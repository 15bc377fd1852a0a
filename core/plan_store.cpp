#include <fulcrum/core/plan_store.h>

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>

#include <fulcrum/core/check.h>

namespace fulcrum::cuda {

namespace {

namespace fs = std::filesystem;

constexpr const char* kFormat = "fulcrum-cudnn-plans 1";

std::map<PlanKey, std::string> parse(const std::string& text) {
  std::istringstream lines(text);
  std::string line;
  check(std::getline(lines, line) && line == kFormat, "[load_cudnn_plans] expected text that starts with \"", kFormat,
        "\", got \"", line.substr(0, 60), "\"");
  std::map<PlanKey, std::string> plans;
  for (int number = 2; std::getline(lines, line); number++) {
    const size_t first = line.find('\t'), second = line.find('\t', first + 1);
    const bool three =
        first != std::string::npos && second != std::string::npos && line.find('\t', second + 1) == std::string::npos;
    check(three && first > 0 && second > first + 1 && second + 1 < line.size(),
          "[load_cudnn_plans] expected device, problem and plan, separated by tabs, got line ", number, " \"",
          line.substr(0, 60), "\"");
    plans[{line.substr(0, first), line.substr(first + 1, second - first - 1)}] = line.substr(second + 1);
  }
  return plans;
}

/// Returns an empty path if neither XDG_CACHE_HOME nor HOME is an absolute path.
fs::path cache_file(const std::string& environment) {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return fs::path(value ? value : "");
  };
  fs::path folder = variable("XDG_CACHE_HOME");
  if (!folder.is_absolute()) {
    if (!variable("HOME").is_absolute()) return {};
    folder = variable("HOME") / ".cache";
  }
  std::string name = environment;
  for (char& c : name)
    if (c == ' ' || c == '/') c = '-';
  return folder / "fulcrum" / (name + ".plans");
}

std::optional<std::string> contents(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::nullopt;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void load_file(PlanStore& plans, const fs::path& path) {
  const auto text = contents(path);
  if (!text) return;
  try {
    plans.load(*text);
  } catch (const Error& e) {
    std::cerr << "fulcrum: warning: ignoring " << path.string() << ": " << e.what() << std::endl;
  }
}

// Writes by renaming, so that a reader sees either the old file or the new one. Ignores failures: plans that could not
// be written are timed again next time.
void write_file(const fs::path& path, const std::string& text) {
  std::error_code ignored;
  fs::create_directories(path.parent_path(), ignored);
  const fs::path beside = path.string() + "." + std::to_string(::getpid());
  bool written = false;
  {
    std::ofstream file(beside, std::ios::binary);
    written = static_cast<bool>(file << text << std::flush);
  }
  if (written) fs::rename(beside, path, ignored);
  if (!written || ignored) fs::remove(beside, ignored);
}

}  // namespace

std::optional<std::string> PlanStore::find(const PlanKey& key) const {
  const std::lock_guard lock(mutex_);
  const auto it = plans_.find(key);
  return it == plans_.end() ? std::nullopt : std::optional(it->second);
}

std::optional<std::string> PlanStore::environment_of(const std::string& problem) const {
  const std::lock_guard lock(mutex_);
  for (const auto& [key, plan] : plans_)
    if (key.problem == problem) return key.environment;
  return std::nullopt;
}

void PlanStore::put(const PlanKey& key, const std::string& plan) {
  const std::lock_guard lock(mutex_);
  plans_[key] = plan;
}

std::string PlanStore::text() const {
  const std::lock_guard lock(mutex_);
  std::string text = std::string(kFormat) + "\n";
  for (const auto& [key, plan] : plans_) text += key.environment + "\t" + key.problem + "\t" + plan + "\n";
  return text;
}

void PlanStore::load(const std::string& text) {
  auto loaded = parse(text);
  const std::lock_guard lock(mutex_);
  loaded.merge(plans_);
  plans_ = std::move(loaded);
}

PlanStore& run_plans() {
  static auto* plans = new PlanStore;
  return *plans;
}

std::optional<std::string> find_cached_plan(const PlanKey& key) {
  const fs::path path = cache_file(key.environment);
  if (path.empty()) return std::nullopt;
  PlanStore plans;
  load_file(plans, path);
  return plans.find(key);
}

void cache_plan(const PlanKey& key, const std::string& plan) {
  const fs::path path = cache_file(key.environment);
  if (path.empty()) return;
  PlanStore plans;  // re-read the file to keep what other processes have added
  load_file(plans, path);
  plans.put(key, plan);
  write_file(path, plans.text());
}

}  // namespace fulcrum::cuda
