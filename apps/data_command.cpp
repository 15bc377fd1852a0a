// fulcrum data pack | check | stats | bench
#include "apps/data_command.h"

#include <algorithm>
#include <memory>
#include <numeric>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <fulcrum/data/pack.h>

#include "apps/commands.h"
#include "apps/data_sets.h"
#include "apps/exit_codes.h"
#include "apps/experiment.h"
#include "apps/flag_checks.h"
#include "apps/make_directory.h"
#include "apps/result.h"
#include "apps/settings_flags.h"

namespace fulcrum::apps {

namespace {

// A pack holds the whole data set with its own labels; imbalance, noise and splits are made when training on it.
void refuse_what_a_pack_cannot_hold(const DataSettings& s) {
  const std::pair<const char*, bool> given[] = {{"data.imb_type", s.imb_type != "none"},
                                                {"data.n_max", s.n_max != 0},
                                                {"data.noise_type", s.noise_type != "none"},
                                                {"data.val_fraction", s.val_fraction != 0}};
  for (const auto& [key, is_given] : given)
    if (is_given)
      throw UsageError(std::string(key) + ": a pack holds the whole data set with its own labels; give " + key +
                       " when you train on it");
}

}  // namespace

nlohmann::json count_summary(std::span<const int64_t> counts) {
  const auto [least, most] = std::ranges::minmax(counts);
  const auto in = [&](int64_t low, int64_t high) {
    return std::ranges::count_if(counts, [&](int64_t n) { return n >= low && n <= high; });
  };
  return {{"images", std::accumulate(counts.begin(), counts.end(), int64_t{0})},
          {"classes", counts.size()},
          {"counts", counts},
          {"imbalance_ratio", static_cast<double>(least) / static_cast<double>(std::max<int64_t>(most, 1))},
          {"many", in(101, std::numeric_limits<int64_t>::max())},
          {"medium", in(20, 100)},
          {"few", in(0, 19)}};
}

int pack_data(const Config& config, const std::filesystem::path& out, int64_t shard_mb) {
  refuse_what_a_pack_cannot_hold(config.data);
  const DataSets sets = open_data_sets(config.data);
  make_directory(out, "pack");
  nlohmann::json result;
  struct Part {
    std::string name;
    const Dataset& data;
    PendingPack pack;
  };
  // Write all packs before the first one replaces that of an earlier call.
  std::vector<Part> parts;
  const auto write = [&](const std::string& name, const Dataset& data) {
    parts.push_back({name, data, PendingPack(out / (name + ".pack"), data, {.shard_bytes = shard_mb * 1'000'000})});
  };
  write("train", *sets.train);
  write("test", *sets.test);
  for (const DataSplit& split : sets.splits) write(split.name, *split.data);
  for (auto& [part, data, pack] : parts) {
    const auto path = out / (part + ".pack");
    const auto files = pack.take_place();
    uint64_t bytes = 0;
    for (const auto& file : files) bytes += std::filesystem::file_size(file);
    result[part] = {{"path", path.string()},     {"files", files.size()},
                    {"images", data.size()},     {"shape", data.image_shape().sizes()},
                    {"classes", data.classes()}, {"bytes", bytes}};
  }
  result["skipped"] = sets.skipped.size();
  print_result(result);
  return kExitDone;
}

int data_stats(const Config& config) {
  const ExperimentData data = load_data(config.data);
  const ChannelStatistics s = channel_statistics(*data.train, data.train_indices);
  nlohmann::json result = count_summary(data.class_counts);
  result["class_names"] = data.train->class_names();
  result["shape"] = data.train->image_shape().sizes();
  result["mean"] = s.mean;
  result["std"] = s.stddev;
  fmt::print("[data]\nmean = [{:.6f}]\nstd = [{:.6f}]\n", fmt::join(s.mean, ", "), fmt::join(s.stddev, ", "));
  print_result(result);
  return kExitDone;
}

void add_data_command(CLI::App& app, Command& command) {
  CLI::App* data = app.add_subcommand("data", "Pack, check and describe data sets");
  data->require_subcommand(1);
  struct Flags {
    SettingsFlags settings;
    std::string out;
    int64_t shard_mb = 0;
    LoaderBenchFlags bench;
  };
  auto flags = std::make_shared<Flags>();
  const auto add = [&](const char* name, const char* help, int (*run)(const Flags&)) {
    CLI::App* sub = data->add_subcommand(name, help);
    flags->settings.add_to(*sub);
    sub->callback([flags, &command, run] { command = [flags, run] { return run(*flags); }; });
    return sub;
  };
  CLI::App* pack = add("pack", "Write the data set, decoded, to OUT_DIR/train.pack and test.pack (--dataset pack)",
                       [](const Flags& f) { return pack_data(f.settings.resolve(), f.out, f.shard_mb); });
  pack->add_option("out_dir", flags->out, "folder of the packs")->required();
  pack->add_option("--shard-mb", flags->shard_mb,
                   "split a pack into files of this many megabytes of images (train-00000-of-00012.pack); 0: one file")
      ->check(CLI::Range(int64_t{0}, int64_t{1'000'000'000}))
      ->type_name("MB");
  add("check", "Check every file; exit code 1 and a list of problems if something is wrong",
      [](const Flags& f) { return check_data_set(f.settings.resolve()); });
  add("stats", "Print class counts, and each channel's mean and standard deviation as TOML and JSON",
      [](const Flags& f) { return data_stats(f.settings.resolve()); });
  CLI::App* bench = add("bench", "Time only the loader: read, decode, augment, normalise",
                        [](const Flags& f) { return bench_loader(f.settings.resolve(), f.bench); });
  bench->add_option("--seconds", flags->bench.seconds, "how long to measure")
      ->check(above_zero())
      ->capture_default_str();
  bench->add_flag("--interleave", flags->bench.interleave,
                  "read 'run SECONDS' lines from stdin, answer each with JSON");
}

}  // namespace fulcrum::apps
