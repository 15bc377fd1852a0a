// fulcrum sweep
#include <algorithm>
#include <cctype>
#include <cstring>
#include <memory>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "apps/commands.h"
#include "apps/directory_lock.h"
#include "apps/exit_codes.h"
#include "apps/flag_checks.h"
#include "apps/grid/grid.h"
#include "apps/grid/sweep.h"
#include "apps/image_sets.h"
#include "apps/result.h"
#include "apps/say.h"
#include "apps/stop.h"

namespace fulcrum::apps {

namespace {

struct SweepFlags {
  SettingsFlags settings;
  std::vector<std::string> grid;
  int64_t seeds = 1;
  bool smoke = false, dry_run = false;
};

// Quotes a word for a shell.
std::string quoted(const std::string& word) {
  const auto plain = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || std::strchr("._+-=,/:@%", c); };
  if (!word.empty() && std::ranges::all_of(word, plain)) return word;
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? "'\\''" : std::string(1, c);
  return text + "'";
}

// The command that trains with the best values; on the whole training set, if it was the sweep that chose to hold a
// part out.
std::string best_command(const SweepFlags& flags, const Sweep& sweep, const SweepResults& results) {
  if (!results.best) return {};
  std::string text = "fulcrum train";
  for (const auto& words :
       {flags.settings.words({"train.output"}), settings_words(sweep, results.points[*results.best])})
    for (const std::string& word : words) text += " " + quoted(word);
  return text;
}

Config base_config(const SweepFlags& flags) {
  Config config = flags.settings.resolve();
  if (config.data.val_fraction == 0 && !has_val_part(config.data)) {
    config.data.val_fraction = 0.1;
    say("data.val_fraction = 0.1: a tenth of the training set is held out for selection\n");
  }
  if (config.data.imb_type != "none" && config.train.eval_metric == "top1")
    say("warning: the held-out part is as imbalanced as the training set, so its top1 mostly measures the large "
        "classes; --eval-metric balanced counts all classes alike\n");
  return config;
}

int sweep(const SweepFlags& flags) {
  const Config base = base_config(flags);
  const std::string& recipe = flags.settings.recipe();
  const std::string name = recipe.empty() ? base.data.name : std::filesystem::path(recipe).stem().string();
  const std::string output =
      base.train.output.empty() ? fmt::format("runs/{}-sweep{}", name, flags.smoke ? "-smoke" : "") : base.train.output;
  Sweep sweep = make_sweep(flags.grid, base, output, flags.seeds, flags.smoke);
  sweep.title = name;
  for (const SweptKey& key : sweep.keys)
    if (flags.settings.has(key.key))
      usage("--grid: ", key.key, " has a value of its own on this command line; give one");
  refuse_directory_of_run(output);
  use_device(base.train);
  const int threads = use_threads(base);
  check_cells(sweep.cells);
  if (flags.dry_run) {
    show_work(sweep.cells, sweep.cells);
    return kExitDone;
  }
  say("fulcrum: {}, sweep in {}\n", backend_text(Device(base.train.device), threads), output);
  const DirectoryLock lock(output);
  install_stop_handlers();
  const auto write = [&] {
    const SweepResults results = collect(sweep);
    write_sweep(sweep, results, best_command(flags, sweep, results));
  };
  const int code = run_cells(sweep.cells, sweep.cells, write);
  write();
  const SweepResults results = collect(sweep);
  const std::string command = best_command(flags, sweep, results);
  say("\n{}\n{}\n", to_markdown(sweep, results, command), (sweep.output / "report.html").string());
  if (code >= 128) say("stopped; run the same command again to continue\n");
  if (code == kExitDone) print_result_to_programs(to_json(sweep, results, command));
  return code;
}

}  // namespace

void add_sweep_command(CLI::App& app, Command& command) {
  CLI::App* sub =
      app.add_subcommand("sweep", "Train every combination of some settings; choose the best on a held-out part");
  sub->footer(
      "Example: fulcrum sweep --recipe fashion-mnist-lt --opt absgd --eval-metric balanced --grid "
      "risk.lambda=1,2,5,10 --grid risk.gamma=0.5,0.9 -o runs/sweep\n"
      "To continue a stopped sweep, run the same command again: docs/reproducing.md");
  auto flags = std::make_shared<SweepFlags>();
  flags->settings.add_to(*sub);
  sub->add_option("--grid", flags->grid, "section.key=value,value,…; once for each key")->required();
  sub->add_option("--seeds", flags->seeds, "number of seeds per combination, from --seed on; means are compared")
      ->check(above_zero());
  sub->add_flag("--smoke", flags->smoke, "every cell with two batches per epoch and one epoch per phase");
  sub->add_flag("--dry-run", flags->dry_run, "list the cells and how long they will take; train nothing");
  sub->callback([flags, &command] { command = [flags] { return sweep(*flags); }; });
}

}  // namespace fulcrum::apps
