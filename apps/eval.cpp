// fulcrum eval
#include <algorithm>
#include <cstdio>
#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "apps/commands.h"
#include "apps/evaluation.h"
#include "apps/exit_codes.h"
#include "apps/flag_checks.h"
#include "apps/i64_tensor.h"
#include "apps/losses.h"
#include "apps/ranges.h"
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
  std::string split = "test";
  std::string logits;  // file for the logits
};

// The samples that --split names, in the order of the data, without augmentation.
struct Part {
  const Dataset& data;
  std::vector<int64_t> indices;
};

Part part_of(const ExperimentData& data, const std::string& split) {
  std::vector<std::string> names = {"test", "train"};
  if (data.val || !data.val_indices.empty()) names.emplace_back("val");
  for (const DataSplit& s : data.splits) names.push_back(s.name);
  one_of("--split", split, names);
  const auto whole = [](const Dataset& d) { return Part{d, all_indices(d.size())}; };
  if (split == "test") return whole(*data.test);
  if (split == "train") return {*data.train, data.train_indices};
  if (split == "val") return data.val ? whole(*data.val) : Part{*data.train, data.val_indices};
  return whole(*std::ranges::find(data.splits, split, &DataSplit::name)->data);
}

void save_logits(const std::string& file, const Evaluation& e, const Part& part) {
  TensorFile tensors{{{"logits", e.logits}, {"labels", e.labels}, {"index", i64_tensor(part.indices)}}, {}};
  if (part.data.has_noise())
    tensors.tensors["clean_labels"] = i64_tensor(gather(part.data.clean_labels(), part.indices));
  save_tensors(file, tensors);
}

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
  check_alike(processes, "--split", flags.split);
  take_own_gpu(processes, config.train);
  use_device(config.train);
  use_threads(config);

  const ExperimentData data = load_data(config.data);
  check_alike(processes, data.checksums);
  const ChannelStatistics statistics = statistics_for(stored, data);
  const std::unique_ptr<Module> model = build(stored, data.test->image_shape(), data.test->classes());
  model->to(Device(config.train.device), activation_dtype(config));
  const Part part = part_of(data, flags.split);
  const Loader loader = make_eval_loader(config, part.data, part.indices, statistics);
  const Evaluation e = evaluate(*model, loader, logit_scale(config.loss), data.class_counts, processes);
  int64_t bad = non_finite_rows(e);
  if (!flags.logits.empty() && processes.first()) save_logits(flags.logits, e, part);
  nlohmann::json result = to_json(e.metrics);
  const bool is_test = flags.split == "test";
  if (!is_test) result["split"] = flags.split;
  const auto add = [&](nlohmann::json& to, const std::string& name, const Dataset& other) {
    const Loader other_loader = make_eval_loader(config, other, all_indices(other.size()), statistics);
    const Evaluation of_part = evaluate(*model, other_loader, logit_scale(config.loss), data.class_counts, processes);
    bad += non_finite_rows(of_part);
    to[name] = to_json(of_part.metrics);
  };
  if (is_test && data.val) add(result, "val", *data.val);
  if (is_test)
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
  CLI::App* sub = app.add_subcommand("eval", "Evaluate a run or a model file on the test set or another part");
  auto flags = std::make_shared<EvalFlags>();
  sub->add_option("path", flags->path, "a run directory (its last.safetensors) or a safetensors file")->required();
  sub->add_option("--split", flags->split, "test, train, val, or a part that data.eval_splits names")
      ->check(not_empty())
      ->capture_default_str();
  sub->add_option("--logits", flags->logits,
                  "also write logits [N, C], labels [N] and index [N] of the samples to this safetensors file");
  flags->settings.add_to(*sub, acts_on_stored_model);
  sub->callback([flags, &command] { command = [flags] { return run_eval(*flags); }; });
}

}  // namespace fulcrum::apps
