// fulcrum reproduce NAME
#include <memory>

#include <CLI/CLI.hpp>

#include "apps/commands.h"
#include "apps/directory_lock.h"
#include "apps/exit_codes.h"
#include "apps/flag_checks.h"
#include "apps/grid/table.h"
#include "apps/ranges.h"
#include "apps/result.h"
#include "apps/say.h"
#include "apps/stop.h"

namespace fulcrum::apps {

namespace {

struct ReproduceFlags {
  SettingsFlags settings;
  std::string grid;
  GridOptions options;
  std::string methods, variants;
  bool dry_run = false;
};

// "a,b" → {a, b}; an empty element is refused.
std::vector<std::string> split(const std::string& list, const char* flag) {
  std::vector<std::string> names;
  for (size_t begin = 0; begin <= list.size();) {
    const size_t end = std::min(list.find(',', begin), list.size());
    if (end == begin) usage(flag, ": expected names with commas between them, got '", list, "'");
    names.push_back(list.substr(begin, end - begin));
    begin = end + 1;
  }
  return names;
}

// All cells of the grid, also those that --methods and --ratios leave out; only the cells asked for, if another one
// refuses a setting.
std::vector<Cell> all_cells(const Grid& whole, const GridOptions& options, const SettingsFlags& settings,
                            const std::vector<Cell>& asked) {
  GridOptions everything;
  everything.seeds = options.seeds;
  try {
    return cells_of(selected(whole, everything), options, settings);
  } catch (const Error&) {
    return asked;
  }
}

int reproduce(const ReproduceFlags& flags, const CLI::App& given) {
  GridOptions options = flags.options;
  if (given.count("--methods")) options.methods = split(flags.methods, "--methods");
  if (given.count("--ratios")) options.variants = split(flags.variants, "--ratios");
  for (const char* key : {"train.epochs", "train.seed"})
    if (flags.settings.has(key))
      usage("--set: ", key, " is the grid's; --epochs scales the schedule, --seeds counts the seeds");
  const Config common = flags.settings.resolve();
  options.output = common.train.output.empty() ? "runs/" + std::filesystem::path(flags.grid).stem().string() +
                                                     (options.smoke ? "-smoke" : "-grid")
                                               : common.train.output;
  const Grid whole = load_grid(flags.grid), grid = selected(whole, options);
  const std::vector<Cell> cells = cells_of(grid, options, flags.settings);
  const std::vector<Cell> every_cell = all_cells(whole, options, flags.settings, cells);
  refuse_directory_of_run(options.output);
  use_device(common.train);
  const int threads = use_threads(common);
  check_cells(cells);
  if (flags.dry_run) {
    show_work(cells, every_cell);
    return kExitDone;
  }
  say("fulcrum: {}, grid {} in {}\n", backend_text(Device(common.train.device), threads), grid.name,
      options.output.string());
  const DirectoryLock lock(options.output);
  install_stop_handlers();
  const auto write = [&] { write_results(grid, collect(grid, cells), options.output); };
  const int code = run_cells(cells, every_cell, write);
  write();
  const GridResults results = collect(grid, cells);
  say("\n{}\n{}\n", to_markdown(grid, results), (options.output / "report.html").string());
  if (code >= 128) say("stopped; run the same command again to continue\n");
  if (code == kExitDone) print_result_to_programs(to_json(grid, results));
  return code;
}

}  // namespace

void add_reproduce_command(CLI::App& app, Command& command) {
  CLI::App* sub = app.add_subcommand("reproduce", "Run the grid of a benchmark: methods × ratios × seeds");
  std::string names;
  for (const std::string& name : grid_names()) names += (names.empty() ? "" : ", ") + name;
  sub->footer("Grids: " + names +
              "\n"
              "Example: fulcrum reproduce fashion-mnist-lt --methods ce,absgd-drw --seeds 2 -o runs/grid\n"
              "To continue a stopped grid, run the same command again: docs/reproducing.md");
  auto flags = std::make_shared<ReproduceFlags>();
  sub->add_option("grid", flags->grid, "the name of a grid, or a TOML file")->required();
  flags->settings.add_some_to(*sub, {"data.dir", "data.workers", "train.amp", "train.device", "train.threads",
                                     "train.output", "train.log_interval", "train.recovery_interval", "train.graph",
                                     "train.tf32", "train.cudnn_benchmark", "train.recompute"});
  sub->add_option("--methods", flags->methods, "only these methods, separated by commas");
  sub->add_option("--ratios,--variants", flags->variants,
                  "only these ratios, or kinds and rates of noise, separated by commas");
  sub->add_option("--seeds", flags->options.seeds,
                  "number of seeds (0, 1, …) per method and ratio; default: as in the grid")
      ->check(above_zero());
  sub->add_option("--epochs", flags->options.epochs,
                  "epochs of each run; milestones, warm-up and late starts scale in proportion")
      ->check(above_zero());
  sub->add_flag("--smoke", flags->options.smoke, "every cell with two batches per epoch and one epoch per phase");
  sub->add_flag("--dry-run", flags->dry_run, "list the cells and how long they will take; train nothing");
  sub->callback([flags, sub, &command] { command = [flags, sub] { return reproduce(*flags, *sub); }; });
}

}  // namespace fulcrum::apps
