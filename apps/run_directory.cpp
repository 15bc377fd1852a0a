#include "apps/run_directory.h"

#include <fcntl.h>
#include <omp.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <span>
#include <sstream>
#include <system_error>

#include <fulcrum/core/serialize.h>
#include <fulcrum/data/imbalance.h>

#include "apps/environment.h"
#include "apps/json_text.h"

namespace fulcrum::apps {

namespace fs = std::filesystem;

namespace {

// Adds every number of an epoch's row, however deep, under a name such as "test/top1"; lists stay in metrics.jsonl.
void add_scalars(const std::string& prefix, const nlohmann::json& value,
                 std::vector<std::pair<std::string, double>>& scalars) {
  if (value.is_number()) scalars.emplace_back(prefix, value.get<double>());
  if (!value.is_object()) return;
  for (const auto& [key, inner] : value.items()) add_scalars(prefix.empty() ? key : prefix + "/" + key, inner, scalars);
}

// The line is on the disk when this returns: a checkpoint written next must not survive a crash that the line does not.
void append_line(const fs::path& path, const std::string& line) {
  const std::string text = line + "\n";
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  const ssize_t written = file < 0 ? -1 : ::write(file, text.data(), text.size());
  const bool done = written == std::ssize(text) && ::fsync(file) == 0;
  const int code = written >= 0 && written < std::ssize(text) ? ENOSPC : errno;
  if (file >= 0) ::close(file);
  check(done, "[run] cannot write ", path.string(), ": ", std::generic_category().message(code));
}

void keep_epochs_before(const fs::path& path, int64_t epoch) {
  std::istringstream in(fs::exists(path) ? read_text_file(path) : "");
  std::string kept, line;
  while (std::getline(in, line)) {
    const auto row = nlohmann::json::parse(line, nullptr, false);
    const auto number = row.is_object() ? row.find("epoch") : row.end();
    if (row.is_object() && number != row.end() && number->is_number() &&
        number->get<double>() < static_cast<double>(epoch))
      kept += line + "\n";
  }
  write_file_atomically(path, {kept});
}

nlohmann::json describe(const ExperimentData& d, const std::string& name) {
  const Shape& s = d.train->image_shape();
  return {{"name", name},
          {"classes", d.train->class_names()},
          {"train_counts", d.class_counts},
          {"test_counts", class_counts(d.test->labels(), d.test->classes())},
          {"image_shape", {s[0], s[1], s[2]}}};
}

void write_lists(const fs::path& run, const ExperimentData& d, const std::string& name) {
  save_indices(run / "train_indices.txt", d.train_indices, "training samples of " + name);
  if (!d.val_indices.empty()) save_indices(run / "val_indices.txt", d.val_indices, "held-out training samples");
  if (!d.skipped.empty()) {
    std::string lines;
    for (const std::string& line : d.skipped) lines += line + "\n";
    write_file_atomically(run / "skipped_images.txt", {lines});
  }
  if (d.train->has_noise())
    save_indices(run / "noisy_labels.txt", gather(d.train->labels(), d.train_indices),
                 "labels that training sees, in the order of train_indices.txt");
}

// The files that are written at the beginning of every run.
constexpr const char* kSettings[] = {"config.toml", "env.json", "data.json", "metrics.jsonl", "train_indices.txt"};
// The files that come later or may be missing, so that those of an earlier run must be removed. The older checkpoint
// first: alone it would be taken for what is left of the last one.
constexpr const char* kResults[] = {
    "previous.safetensors", "last.safetensors", "best.safetensors", "predictions.safetensors",
    "samples.safetensors",  "val_indices.txt",  "noisy_labels.txt", "skipped_images.txt",
    "suspects.csv",         "result.json",      "report.html",      "log.txt"};

// TensorBoard's event files, which have the time in their names.
std::vector<fs::path> event_files(const fs::path& directory) {
  std::vector<fs::path> files;
  std::error_code none;  // there may be no directory yet
  for (const auto& entry : fs::directory_iterator(directory, none))
    if (entry.path().filename().string().starts_with("events.out.tfevents.")) files.push_back(entry.path());
  return files;
}

}  // namespace

std::optional<std::string> file_of_run(const fs::path& directory) {
  for (const auto& names : {std::span<const char* const>(kSettings), std::span<const char* const>(kResults)})
    for (const char* name : names)
      if (fs::exists(directory / name)) return name;
  const std::vector<fs::path> events = event_files(directory);
  return events.empty() ? std::nullopt : std::optional(events.front().filename().string());
}

std::vector<fs::path> runs_below(const fs::path& directory) {
  std::vector<fs::path> runs;
  std::error_code error;
  if (fs::exists(directory / "config.toml", error)) return runs;
  auto entry = fs::recursive_directory_iterator(directory, error);
  for (; !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
    std::error_code ignored;
    if (!fs::exists(entry->path() / "config.toml", ignored)) continue;
    if (entry->path().extension() != ".part") runs.push_back(entry->path());
    entry.disable_recursion_pending();  // skip copies of its epochs for other cells of a grid
  }
  std::ranges::sort(runs);
  return runs;
}

void refuse_directory_of_runs(const fs::path& directory) {
  std::error_code ignored;
  if (!fs::is_directory(directory, ignored) || fs::exists(directory / "last.safetensors", ignored)) return;
  if (const std::vector<fs::path> runs = runs_below(directory); !runs.empty())
    fail("[run] ", directory.string(), " is a directory of runs; expected one of them, such as ", runs[0].string());
}

const std::vector<std::string>& free_settings() {
  static const std::vector<std::string> keys = {
      "data.dir",     "data.workers",       "data.cache_mb",           "train.output",   "train.threads",
      "train.device", "train.log_interval", "train.recovery_interval", "train.recompute"};
  return keys;
}

Config stored_config(const fs::path& run) {
  const fs::path file = run / "last.safetensors";
  const TensorIndex index = read_tensor_index(file);
  const auto text = index.metadata.find("config");
  check(text != index.metadata.end(), "[resume] ", file.string(), ": expected metadata 'config'");
  Config config;
  load_toml(config, text->second, file.string());
  return config;
}

RunDirectory::RunDirectory(fs::path path, bool writes) : path_(std::move(path)), writes_(writes) {}

void RunDirectory::write_settings(const Config& config) {
  write_file_atomically(path_ / "config.toml", {to_toml(config)});
  const std::string text = json_text(environment(omp_get_max_threads()), 2) + "\n";
  write_file_atomically(path_ / "env.json", {text});
}

void RunDirectory::lock() {
  if (writes_) lock_ = DirectoryLock(path_);
}

void RunDirectory::begin(const Config& config, const ExperimentData& data) {
  if (!writes_) return;
  lock();
  for (const char* stale : kResults) fs::remove(path_ / stale);
  for (const fs::path& stale : event_files(path_)) fs::remove(stale);
  write_settings(config);
  write_file_atomically(path_ / "metrics.jsonl", {});
  const std::string text = json_text(describe(data, config.data.name), 2) + "\n";
  write_file_atomically(path_ / "data.json", {text});
  write_lists(path_, data, config.data.name);
  events_ = std::make_unique<EventWriter>(path_, 0);
}

void RunDirectory::resume(const Config& config, int64_t epoch) {
  if (!writes_) return;
  for (const char* ended : {"result.json", "suspects.csv"})
    fs::remove(path_ / ended);  // of a run that goes on from its end
  write_settings(config);
  keep_epochs_before(path_ / "metrics.jsonl", epoch);
  events_ = std::make_unique<EventWriter>(path_, epoch + 1);
}

void RunDirectory::add_epoch(const nlohmann::json& row) {
  if (!writes_) return;
  append_line(path_ / "metrics.jsonl", json_text(row));
  std::vector<std::pair<std::string, double>> scalars;
  nlohmann::json numbers = row;
  numbers.erase("epoch");
  add_scalars("", numbers, scalars);
  events_->add(row["epoch"].get<int64_t>() + 1, scalars);
}

void RunDirectory::finish(const nlohmann::json& result) {
  if (!writes_) return;
  const std::string text = json_text(result, 2) + "\n";
  write_file_atomically(path_ / "result.json", {text});
}

}  // namespace fulcrum::apps
