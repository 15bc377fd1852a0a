// fulcrum train
#include <omp.h>

#include <cstdio>
#include <memory>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "apps/checkpoint.h"
#include "apps/commands.h"
#include "apps/dry_run.h"
#include "apps/flag_checks.h"
#include "apps/ranges.h"
#include "apps/result.h"
#include "apps/run_directory.h"
#include "apps/say.h"
#include "apps/settings_flags.h"
#include "apps/smoke.h"
#include "apps/spread.h"
#include "apps/stop.h"
#include "apps/trainer.h"
#include "apps/world.h"

namespace fulcrum::apps {

namespace {

struct TrainFlags {
  SettingsFlags settings;
  std::string resume;
  bool exist_ok = false;
  bool allow_changes = false;
  bool dry_run = false;
  bool smoke = false;
  int seeds = 1;
};

// A resumed run may also have other train.epochs: its length may be extended.
std::vector<std::string> free_on_resume() {
  std::vector<std::string> keys = free_settings();
  keys.push_back("train.epochs");
  return keys;
}

void refuse_to_overwrite(const std::filesystem::path& output) {
  const auto found = file_of_run(output);
  if (!found) return;
  if (*found == "config.toml")
    throw UsageError(output.string() +
                     " holds a run already: --resume auto continues it, --exist-ok "
                     "overwrites it, --output names another directory");
  throw UsageError(output.string() + " holds " + *found +
                   ", which a run would replace: --exist-ok overwrites it, --output names another directory");
}

// A run has no way back: with fewer epochs than are done its settings would no longer be those of its weights and metrics.
void refuse_to_shorten(const Config& config) {
  const RunProgress done = stored_progress(std::filesystem::path(config.train.output) / "last.safetensors");
  const int64_t begun = done.epoch + (done.batch > 0 ? 1 : 0);
  if (config.train.epochs < begun)
    usage("train.epochs: ", config.train.output, " has ", done.batch > 0 ? "begun" : "finished", " epoch ", begun,
          "; expected at least ", begun, ", got ", config.train.epochs);
}

// Whether the directory has a name that --smoke gives; for one of several seeds, whether the directory above it has.
bool is_of_smoke(std::filesystem::path output, bool of_seeds) {
  output = (output / "").lexically_normal().parent_path();
  if (of_seeds) output = output.parent_path();
  return output.filename().string().ends_with("-smoke");
}

struct Plan {
  Config config;
  Trainer::Start start = Trainer::Start::kFresh;
};

bool resumes_named_run(const TrainFlags& flags) { return !flags.resume.empty() && flags.resume != "auto"; }

// The settings from the command line; train.output is set.
Config resolve(const TrainFlags& flags) {
  if (resumes_named_run(flags)) {
    refuse_directory_of_runs(flags.resume);
    if (world().first()) recover_checkpoint(flags.resume);
    world().barrier();  // the first process may have moved a file
    const std::filesystem::path run = flags.resume;
    if (std::filesystem::exists(run / "config.toml") && !std::filesystem::exists(run / "last.safetensors"))
      fail("[resume] ", flags.resume, ": there is no checkpoint yet; --resume auto --output ", flags.resume,
           " begins again, and train.recovery_interval writes checkpoints within an epoch");
    Config config = flags.settings.resolve(stored_config(flags.resume));
    config.train.output = flags.resume;
    return config;
  }
  Config config = flags.settings.resolve();
  if (config.train.output.empty()) {
    const std::string& recipe = flags.settings.recipe();
    const std::string name = recipe.empty() ? config.data.name : std::filesystem::path(recipe).stem().string();
    config.train.output = fmt::format("runs/{}-{}", name,
                                      flags.smoke       ? "smoke"
                                      : flags.seeds > 1 ? fmt::format("{}seeds", flags.seeds)
                                                        : fmt::format("seed{}", config.train.seed));
  }
  return config;
}

Plan plan_run(const TrainFlags& flags, const Config& config) {
  Plan plan{config};
  if (resumes_named_run(flags)) {
    plan.start = Trainer::Start::kResume;
  } else {
    const std::filesystem::path output = plan.config.train.output;
    if (flags.resume == "auto" && recover_checkpoint(output)) plan.start = Trainer::Start::kResume;
    // A run that was killed before its first checkpoint starts again; env.json distinguishes it from files of other
    // origin.
    const bool is_begun = plan.start == Trainer::Start::kResume || std::filesystem::exists(output / "env.json");
    const bool goes_on = flags.resume == "auto" && is_begun;
    if (!goes_on && !flags.exist_ok && !(flags.smoke && is_of_smoke(output, flags.seeds > 1)))
      refuse_to_overwrite(output);
  }
  if (plan.start == Trainer::Start::kFresh) return plan;
  refuse_to_shorten(plan.config);
  const auto changed = differences(stored_config(plan.config.train.output), plan.config, free_on_resume());
  if (changed.empty()) return plan;
  if (!flags.allow_changes)
    throw UsageError("--resume: these settings differ from the run's (--allow-changes goes on with them):" +
                     listed(changed));
  plan.start = Trainer::Start::kResumeChanged;
  return plan;
}

// Only the first process looks at the run's directory, before it or any other changes something there.
Plan plan_together(const TrainFlags& flags, const Config& config) {
  Communicator& processes = world();
  Plan plan{config};
  if (processes.first()) plan = plan_run(flags, config);
  plan.start = static_cast<Trainer::Start>(processes.max(static_cast<int64_t>(plan.start)));
  return plan;
}

TrainOutcome train_once(const TrainFlags& flags, const Config& config) {
  Communicator& processes = world();
  const Plan plan = plan_together(flags, config);
  if (processes.first()) {
    const std::string backend = backend_text(Device(plan.config.train.device), omp_get_max_threads());
    say("fulcrum: {}{}, run {}\n", processes.size() > 1 ? fmt::format("{} processes, each ", processes.size()) : "",
        backend, plan.config.train.output);
  }
  Trainer trainer(plan.config, plan.start, processes);
  const std::string& run = plan.config.train.output;
  const auto has_checkpoint = [&] { return std::filesystem::exists(std::filesystem::path(run) / "last.safetensors"); };
  try {
    return trainer.run();
  } catch (const PeerFailed& e) {
    if (e.silent() || !has_checkpoint()) throw;
    throw PeerFailed(concat_text(e.what(), "\nthe last checkpoint is whole; continue with --resume ", run),
                     e.exit_code(), false);
  } catch (const Error& e) {
    if (!has_checkpoint()) throw;
    fail(e.what(), "\nthe last checkpoint is whole; once this is fixed, continue with --resume ", run);
  }
}

// {"mean", "sd"} of every number that all results have, over the seeds.
nlohmann::json summary_of(const std::vector<nlohmann::json>& results) {
  nlohmann::json summary = nlohmann::json::object();
  for (const auto& [key, first] : results.front().items()) {
    std::vector<double> values;
    for (const auto& r : results)
      if (key != "seed" && key != "epochs" && r.contains(key) && r[key].is_number()) values.push_back(r[key]);
    if (values.size() != results.size()) continue;
    const Spread s = spread_of(values);
    summary[key] = {{"mean", s.mean}, {"sd", s.sd}};
  }
  return summary;
}

// One run after the other, in OUTPUT/seed0, OUTPUT/seed1, …
int train_seeds(const TrainFlags& flags, const Config& config) {
  std::vector<nlohmann::json> results;
  for (int i = 0; i < flags.seeds; i++) {
    Config one = config;
    one.train.seed += i;
    one.train.output = (std::filesystem::path(config.train.output) / fmt::format("seed{}", one.train.seed)).string();
    const TrainOutcome outcome = train_once(flags, one);
    if (outcome.exit_code != kExitDone) return outcome.exit_code;
    results.push_back(outcome.result);
  }
  const nlohmann::json summary = summary_of(results);
  const auto show = [&](const char* key) {
    return fmt::format("{} {:.2f} ± {:.2f}", key, 100 * summary[key]["mean"].get<double>(),
                       100 * summary[key]["sd"].get<double>());
  };
  if (!world().first()) return kExitDone;
  say("{} seeds, mean ± sd: {}, {}\n", flags.seeds, show("top1"), show("balanced"));
  nlohmann::json result = {{"seeds", flags.seeds}, {"summary", summary}};
  if (!stdout_is_terminal()) result["runs"] = results;  // each is also in its directory
  print_result(result);
  return kExitDone;
}

int train(const TrainFlags& flags) {
  if (flags.seeds > 1 && resumes_named_run(flags))
    throw UsageError("--seeds: goes with --resume auto, which continues every seed, not with --resume RUN");
  if (resumes_named_run(flags))
    for (const auto& [given, flag] :
         {std::pair(flags.smoke, "--smoke"), {flags.settings.has("train.output"), "--output"}})
      if (given) usage("--resume ", flags.resume, ": goes on in that directory, as it began; expected no ", flag);
  if (flags.dry_run) require_one_process("train --dry-run");
  Communicator& processes = world();
  check_alike(processes, "flags of the command",
              fmt::format("{}{}{}{}{}",
                          flags.resume == "auto" ? "--resume auto "
                          : flags.resume.empty() ? ""
                                                 : "--resume RUN ",
                          flags.smoke ? "--smoke " : "", flags.dry_run ? "--dry-run " : "",
                          flags.exist_ok ? "--exist-ok " : "", flags.allow_changes ? "--allow-changes" : ""));
  const Config asked = resolve(flags);
  Config config = asked;
  if (flags.smoke) shorten_for_smoke(config);
  check_alike(processes, config);
  check_alike(processes, "--seeds", std::to_string(flags.seeds));
  check_divisible(processes, config);
  take_own_gpu(processes, config.train);
  use_device(config.train);
  use_threads(config);
  if (processes.first())
    for (const std::string& text : flags.settings.without_effect(asked)) say("warning: {}\n", text);
  if (flags.dry_run) return dry_run(config);
  install_stop_handlers();
  if (flags.seeds > 1) return train_seeds(flags, config);
  const TrainOutcome outcome = train_once(flags, config);
  if (outcome.exit_code == kExitDone && processes.first()) print_result(outcome.result);
  return outcome.exit_code;
}

}  // namespace

void add_train_command(CLI::App& app, Command& command) {
  CLI::App* sub = app.add_subcommand("train", "Train a model");
  sub->footer(
      "Example: fulcrum train --recipe fashion-mnist-lt --opt absgd --lambda 5 -o runs/first\n"
      "All settings and files of a run: docs/recipes.md");
  auto flags = std::make_shared<TrainFlags>();
  flags->settings.add_to(*sub);
  sub->add_option("--resume", flags->resume, "a run directory, or 'auto': continue --output if it holds a checkpoint")
      ->check(not_empty());
  sub->add_flag("--allow-changes", flags->allow_changes, "resume even if the settings differ from the checkpoint's");
  sub->add_option("--seeds", flags->seeds,
                  "train this many seeds, from --seed on; gives the mean and standard deviation of the results")
      ->check(above_zero());
  sub->add_flag("--dry-run", flags->dry_run, "show the settings, the data, and what the run will cost; train nothing");
  sub->add_flag("--smoke", flags->smoke,
                "two batches per epoch and one epoch per phase, to check that everything works");
  sub->add_flag("--exist-ok", flags->exist_ok, "overwrite a run directory");
  sub->callback([flags, &command] { command = [flags] { return train(*flags); }; });
}

}  // namespace fulcrum::apps
