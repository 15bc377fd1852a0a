// fulcrum info: what this build is, and what its models are made of.
#include <omp.h>

#include <cstdio>
#include <memory>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <fulcrum/core/cuda/runtime.h>
#include <fulcrum/core/backends.h>
#include <fulcrum/layers/models.h>

#include "apps/commands.h"
#include "apps/config.h"
#include "apps/environment.h"
#include "apps/model_summary.h"
#include "apps/trainer.h"

namespace fulcrum::apps {

namespace {

struct InfoFlags {
  std::string model;
  int64_t size = 32, channels = 3;
  std::optional<int64_t> classes;
  bool json = false;
};

std::string joined(const std::vector<std::string>& words) {
  return fmt::format("{}", fmt::join(words, ", "));
}

void show_build() {
  const nlohmann::json e = environment(omp_get_max_threads());
  const auto text = [&](const char* key) { return e[key].get<std::string>(); };
  fmt::print("fulcrum {} ({}), {} {}\n", text("fulcrum"), text("git_commit"), text("compiler"), text("build_type"));
  for (const auto& [device, description] : e["devices"].items())
    fmt::print("device   {}: {}\n", device, description.get<std::string>());
  if (cuda::device_count() == 0) fmt::print("device   cuda: none, {}\n", cuda::why_no_device());
  fmt::print("threads  {}\n", e["threads"].get<int>());
  fmt::print("models   {}\n", joined(model_names()));
  fmt::print("recipes  {}\n", joined(recipe_names()));
}

void show_model(const InfoFlags& f) {
  const std::unique_ptr<Module> model =
      fulcrum::make_model(f.model, {.classes = f.classes, .channels = f.channels, .image = f.size});
  const auto rows = layer_table(*model, {1, f.size, f.size, f.channels});
  fmt::print("{:<24} {:>18} {:>12} {:>14}\n", f.model, "output", "parameters", "multiply-adds");
  int64_t parameters = 0, multiply_adds = 0;
  for (const LayerRow& row : rows) {
    fmt::print("{:<24} {:>18} {:>12} {:>14}\n", row.name, concat_text(row.output), row.parameters, row.multiply_adds);
    parameters += row.parameters;
    multiply_adds += row.multiply_adds;
  }
  fmt::print("{:<24} {:>18} {:>12} {:>14}\n", "total", "", parameters, multiply_adds);
}

int info(const InfoFlags& f) {
  if (f.json) {
    fmt::print("{}\n", environment(omp_get_max_threads()).dump(2));
  } else if (f.model.empty()) {
    show_build();
  } else {
    show_model(f);
  }
  return kExitDone;
}

}  // namespace

void add_info_command(CLI::App& app, Command& command) {
  CLI::App* sub = app.add_subcommand("info", "Show the build and its devices, or the layers of a model");
  auto flags = std::make_shared<InfoFlags>();
  sub->add_option("--model", flags->model, "a model: its layers, parameters and multiply-adds");
  sub->add_option("--image-size", flags->size, "height and width of its images")->check(CLI::PositiveNumber)->capture_default_str();
  sub->add_option("--channels", flags->channels, "of its images")->check(CLI::PositiveNumber)->capture_default_str();
  sub->add_option("--classes", flags->classes, "of its answers; default: the model's own, 10 or 1000")->check(CLI::PositiveNumber);
  sub->add_flag("--json", flags->json, "the build as JSON: what env.json of a run holds");
  sub->callback([flags, &command] { command = [flags] { return info(*flags); }; });
}

}  // namespace fulcrum::apps
