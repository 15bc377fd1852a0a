// fulcrum train
#include <unistd.h>

#include <cstdio>
#include <memory>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <fulcrum/core/serialize.h>

#include "apps/commands.h"
#include "apps/trainer.h"

namespace fulcrum::apps {

volatile std::sig_atomic_t stop_signal = 0;

namespace {

extern "C" void on_stop_signal(int signal) {
  if (stop_signal != 0) _exit(128 + signal);  // the second one quits at once
  stop_signal = signal;
}

struct TrainFlags {
  SettingsFlags settings;
  std::string resume;
  bool exist_ok = false;
  bool allow_changes = false;
};

// Settings that may differ between a run and its continuation without changing its numbers, and the
// length of the run, which may be extended.
const std::vector<std::string> kFreeOnResume = {"data.dir",       "data.workers", "train.output",
                                                "train.threads",  "train.device", "train.log_interval",
                                                "train.epochs"};

Config stored_config(const std::filesystem::path& run) {
  const auto file = run / "last.safetensors";
  const TensorIndex index = read_tensor_index(file);
  const auto text = index.metadata.find("config");
  check(text != index.metadata.end(), "[resume] ", file.string(), ": expected metadata 'config'");
  Config config;
  load_toml(config, text->second, file.string());
  return config;
}

struct Plan {
  Config config;
  Trainer::Start start = Trainer::Start::kFresh;
};

Plan plan_run(const TrainFlags& flags) {
  Plan plan;
  const bool named = !flags.resume.empty() && flags.resume != "auto";
  if (named) {
    const Config stored = stored_config(flags.resume);
    plan.config = flags.settings.resolve(stored);
    plan.config.train.output = flags.resume;
    plan.start = Trainer::Start::kResume;
  } else {
    plan.config = flags.settings.resolve();
    if (plan.config.train.output.empty())
      plan.config.train.output = fmt::format("runs/{}-seed{}", flags.settings.recipe().empty()
                                                 ? plan.config.data.name
                                                 : std::filesystem::path(flags.settings.recipe()).stem().string(),
                                             plan.config.train.seed);
    const std::filesystem::path output = plan.config.train.output;
    if (flags.resume == "auto" && std::filesystem::exists(output / "last.safetensors"))
      plan.start = Trainer::Start::kResume;
    // A run that was killed before its first checkpoint starts again.
    if (flags.resume != "auto" && !flags.exist_ok && std::filesystem::exists(output / "config.toml"))
      throw UsageError(output.string() + " holds a run already: --resume auto continues it, --exist-ok "
                       "overwrites it, --output names another directory");
  }
  if (plan.start == Trainer::Start::kFresh) return plan;
  const auto changed = differences(stored_config(plan.config.train.output), plan.config, kFreeOnResume);
  if (changed.empty()) return plan;
  std::string list;
  for (const auto& line : changed) list += "\n  " + line;
  if (!flags.allow_changes)
    throw UsageError("--resume: these settings differ from the run's (--allow-changes goes on with them):" + list);
  fmt::print(stderr, "resuming with changed settings:{}\n", list);
  plan.start = Trainer::Start::kResumeChanged;
  return plan;
}

int train(const TrainFlags& flags) {
  const Plan plan = plan_run(flags);
  check_device(plan.config.train.device);
  const int threads = use_threads(plan.config);
  fmt::print(stderr, "fulcrum: {}, run {}\n", backend_text(threads), plan.config.train.output);
  std::signal(SIGINT, on_stop_signal);
  std::signal(SIGTERM, on_stop_signal);
  Trainer trainer(plan.config, plan.start);
  const TrainOutcome outcome = trainer.run();
  if (outcome.exit_code == kExitDone) fmt::print("{}\n", outcome.result.dump());
  return outcome.exit_code;
}

}  // namespace

void add_train_command(CLI::App& app, Command& command) {
  CLI::App* sub = app.add_subcommand("train", "Train a model");
  auto flags = std::make_shared<TrainFlags>();
  flags->settings.add_to(*sub);
  sub->add_option("--resume", flags->resume, "a run directory, or 'auto': continue --output if it holds a checkpoint");
  sub->add_flag("--allow-changes", flags->allow_changes, "resume with other settings than the checkpoint's");
  sub->add_flag("--exist-ok", flags->exist_ok, "overwrite a run directory");
  sub->callback([flags, &command] { command = [flags] { return train(*flags); }; });
}

}  // namespace fulcrum::apps
