// fulcrum eval
#include <cstdio>
#include <memory>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "apps/commands.h"
#include "apps/evaluation.h"
#include "apps/exit_codes.h"
#include "apps/settings_flags.h"
#include "apps/stored_model.h"
#include "apps/world.h"

namespace fulcrum::apps {

namespace {

struct EvalFlags {
  SettingsFlags settings;
  std::string path;
  std::string logits;  // where to write them
};

int run_eval(const EvalFlags& flags) {
  const StoredModel stored = open_stored_model(flags.path, flags.settings);
  const Config& config = stored.config;
  Communicator& processes = world();
  check_alike(processes, config);
  take_own_gpu(processes, config.train);
  use_device(config.train);
  use_threads(config);

  const ExperimentData data = load_data(config.data);
  const std::unique_ptr<Module> model = build(stored, data.test->image_shape(), data.test->classes());
  model->to(Device(config.train.device), activation_dtype(config));
  const Loader loader = make_eval_loader(config, *data.test, all_indices(data.test->size()), data.statistics);
  const Evaluation e = evaluate(*model, loader, data.class_counts, processes);
  if (!flags.logits.empty() && processes.first())
    save_tensors(flags.logits, {{{"logits", e.logits}, {"labels", e.labels}}, {}});
  nlohmann::json result = to_json(e.metrics);
  const auto add = [&](nlohmann::json& to, const std::string& name, const Dataset& part) {
    const Loader part_loader = make_eval_loader(config, part, all_indices(part.size()), data.statistics);
    to[name] = to_json(evaluate(*model, part_loader, data.class_counts, processes).metrics);
  };
  if (data.val) add(result, "val", *data.val);
  for (const DataSplit& split : data.splits) add(result["splits"], split.name, *split.data);
  if (processes.first()) fmt::print("{}\n", result.dump());
  return kExitDone;
}

}  // namespace

void add_eval_command(CLI::App& app, Command& command) {
  CLI::App* sub = app.add_subcommand("eval", "Evaluate a run or a model file on the test set");
  auto flags = std::make_shared<EvalFlags>();
  sub->add_option("path", flags->path, "a run directory (its last.safetensors) or a safetensors file")->required();
  sub->add_option("--logits", flags->logits, "also write logits [N, C] and labels [N] to this safetensors file");
  flags->settings.add_to(*sub);
  sub->callback([flags, &command] { command = [flags] { return run_eval(*flags); }; });
}

}  // namespace fulcrum::apps
