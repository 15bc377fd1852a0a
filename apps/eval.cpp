// fulcrum eval
#include <cstdio>
#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "apps/commands.h"
#include "apps/evaluation.h"
#include "apps/exit_codes.h"
#include "apps/losses.h"
#include "apps/result.h"
#include "apps/say.h"
#include "apps/settings_flags.h"
#include "apps/stored_model.h"
#include "apps/world.h"

namespace fulcrum::apps {

namespace {

struct EvalFlags {
  SettingsFlags settings;
  std::string path;
  std::string logits;  // file for the logits
};

// The statistics that the model was trained with, unless the settings give others. The images may be another set, but
// their classes must be the same.
ChannelStatistics statistics_for(const StoredModel& stored, const ExperimentData& data) {
  const auto inputs = read_inputs(stored.tensors, stored.file.string());
  if (!inputs) return data.statistics;
  const std::string ours = class_difference(inputs->classes, data.train->class_names());
  if (!ours.empty()) fail("[eval] ", stored.file.string(), ": expected the classes that it was trained on: ", ours);
  const bool fits = std::ssize(inputs->statistics.mean) == data.test->image_shape()[2];
  return stored.config.data.mean.empty() && fits ? inputs->statistics : data.statistics;
}

int run_eval(const EvalFlags& flags) {
  const StoredModel stored = open_stored_model(flags.path, flags.settings);
  const Config& config = stored.config;
  if (!flags.logits.empty()) refuse_to_replace(stored, "--logits", flags.logits);
  Communicator& processes = world();
  check_alike(processes, config);
  take_own_gpu(processes, config.train);
  use_device(config.train);
  use_threads(config);

  const ExperimentData data = load_data(config.data);
  check_alike(processes, data.checksums);
  const ChannelStatistics statistics = statistics_for(stored, data);
  const std::unique_ptr<Module> model = build(stored, data.test->image_shape(), data.test->classes());
  model->to(Device(config.train.device), activation_dtype(config));
  const Loader loader = make_eval_loader(config, *data.test, all_indices(data.test->size()), statistics);
  const Evaluation e = evaluate(*model, loader, logit_scale(config.loss), data.class_counts, processes);
  int64_t bad = non_finite_rows(e);
  if (!flags.logits.empty() && processes.first())
    save_tensors(flags.logits, {{{"logits", e.logits}, {"labels", e.labels}}, {}});
  nlohmann::json result = to_json(e.metrics);
  const auto add = [&](nlohmann::json& to, const std::string& name, const Dataset& part) {
    const Loader part_loader = make_eval_loader(config, part, all_indices(part.size()), statistics);
    const Evaluation of_part = evaluate(*model, part_loader, logit_scale(config.loss), data.class_counts, processes);
    bad += non_finite_rows(of_part);
    to[name] = to_json(of_part.metrics);
  };
  if (data.val) add(result, "val", *data.val);
  for (const DataSplit& split : data.splits) add(result["splits"], split.name, *split.data);
  if (!processes.first()) return bad > 0 ? kExitNonFinite : kExitDone;
  print_result(result);
  if (bad == 0) return kExitDone;
  say("error: {}: non-finite logits for {} images: the weights or the images are not finite\n", stored.file.string(),
      bad);
  return kExitNonFinite;
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
