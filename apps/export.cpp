// fulcrum export: a trained model for other runtimes.
#include <memory>

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <fulcrum/layers/onnx.h>

#include "apps/commands.h"
#include "apps/environment.h"
#include "apps/exit_codes.h"
#include "apps/losses.h"
#include "apps/result.h"
#include "apps/settings_flags.h"
#include "apps/stored_model.h"

namespace fulcrum::apps {

namespace {

struct ExportFlags {
  SettingsFlags settings;
  std::string model;
  std::string onnx;
  bool normalize = false;
};

int run_export(const ExportFlags& flags) {
  const StoredModel stored = open_stored_model(flags.model, flags.settings);
  const ModelInputs inputs = inputs_of(stored);
  const std::unique_ptr<Module> model = build(stored, inputs.image, std::ssize(inputs.classes));
  OnnxOptions options{.image = inputs.image,
                      .logit_scale = logit_scale(stored.config.loss),
                      .metadata = {{"fulcrum", version()},
                                   {"model", stored.config.model.name},
                                   {"inputs", to_text(inputs)},
                                   {"normalized_inside", flags.normalize ? "true" : "false"}}};
  if (flags.normalize) {
    options.mean = inputs.statistics.mean;
    options.stddev = inputs.statistics.stddev;
  }
  refuse_to_replace(stored, "--onnx", flags.onnx);
  const OnnxSummary made = export_onnx(*model, flags.onnx, options);
  const Shape& s = inputs.image;
  const nlohmann::json result = {{"onnx", flags.onnx},
                                 {"model", stored.config.model.name},
                                 {"images", {"batch", s[2], s[0], s[1]}},
                                 {"logits", {"batch", inputs.classes.size()}},
                                 {"normalized_inside", flags.normalize},
                                 {"nodes", made.nodes},
                                 {"parameters", made.parameters}};
  print_result(result);
  return kExitDone;
}

}  // namespace

void add_export_command(CLI::App& app, Command& command) {
  CLI::App* sub = app.add_subcommand("export", "Write a trained model as an ONNX file");
  sub->footer("Example: fulcrum export runs/first --onnx first.onnx --normalize");
  auto flags = std::make_shared<ExportFlags>();
  sub->add_option("model", flags->model, "a run directory (its last.safetensors) or a safetensors file")->required();
  sub->add_option("--onnx", flags->onnx,
                  "the file to write: 'images' [batch, C, H, W] to 'logits' [batch, classes], in f32")
      ->required();
  sub->add_flag("--normalize", flags->normalize, "the model takes pixel / 255 and normalises it itself");
  flags->settings.add_some_to(*sub, {"data.name", "data.dir", "model.name", "loss.name"});
  sub->callback([flags, &command] { command = [flags] { return run_export(*flags); }; });
}

}  // namespace fulcrum::apps
