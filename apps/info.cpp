// fulcrum info: what this build is, and what its models are made of.
#include <omp.h>

#include <cstdio>
#include <memory>

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <fulcrum/core/backends.h>
#include <fulcrum/core/cuda/runtime.h>
#include <fulcrum/layers/models.h>

#include "apps/commands.h"
#include "apps/config.h"
#include "apps/environment.h"
#include "apps/exit_codes.h"
#include "apps/experiment.h"
#include "apps/flag_checks.h"
#include "apps/json_text.h"
#include "apps/model_summary.h"

namespace fulcrum::apps {

namespace {

struct InfoFlags {
  std::string model;
  int64_t channels = 3;
  std::optional<int64_t> size, classes;
  bool json = false;
};

std::string joined(const std::vector<std::string>& words) { return fmt::format("{}", fmt::join(words, ", ")); }

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

// The image size that a network is made for: ImageNet's if its first convolution is 7×7, else CIFAR's.
int64_t own_image_size(const Module& model) {
  constexpr int64_t kImagenet = 224, kCifar = 32;
  return model.named_parameters().front().tensor.size(1) == 7 ? kImagenet : kCifar;
}

struct ModelInfo {
  int64_t size = 0;
  std::vector<LayerRow> rows = {};
  SavedActivations saved = {};
  int64_t parameters = 0, multiply_adds = 0;
};

ModelInfo describe(const InfoFlags& f) {
  const auto model = named_model(f.model, {.classes = f.classes, .channels = f.channels, .image = f.size.value_or(32)});
  ModelInfo m{.size = f.size.value_or(own_image_size(*model))};
  m.rows = layer_table(*model, {1, m.size, m.size, f.channels});
  m.saved = saved_for_backward(*model, {1, m.size, m.size, f.channels});
  for (const LayerRow& row : m.rows) {
    m.parameters += row.parameters;
    m.multiply_adds += row.multiply_adds;
  }
  return m;
}

double mib(int64_t bytes) { return static_cast<double>(bytes) / 1048576; }

void show_model(const InfoFlags& f) {
  const ModelInfo m = describe(f);
  constexpr const char* kRow = "{:<24} {:>18} {:>11} {:>14} {:>8}\n";
  fmt::print(kRow, f.model, "output", "parameters", "multiply-adds", "MiB");
  for (const LayerRow& row : m.rows)
    fmt::print(kRow, row.name, concat_text(row.output), row.parameters, row.multiply_adds,
               fmt::format("{:.2f}", mib(4 * row.output.numel())));
  fmt::print(kRow, "total", "", m.parameters, m.multiply_adds, "");
  fmt::print(
      "\n"
      "An image of {0}x{0}: {1:.2f} GFLOP forward (2 per multiply-add), outputs in MiB of f32.\n",
      m.size, 2e-9 * static_cast<double>(m.multiply_adds));
  fmt::print("Kept for its backward pass: {:.1f} MiB in f32, {:.1f} MiB in bf16.\n", mib(m.saved.bytes(DType::kF32)),
             mib(m.saved.bytes(DType::kBf16)));
}

nlohmann::json model_json(const InfoFlags& f) {
  const ModelInfo m = describe(f);
  nlohmann::json layers = nlohmann::json::array();
  for (const LayerRow& row : m.rows) {
    const auto sizes = row.output.sizes();
    layers.push_back({{"name", row.name},
                      {"output", std::vector<int64_t>(sizes.begin(), sizes.end())},
                      {"parameters", row.parameters},
                      {"multiply_adds", row.multiply_adds}});
  }
  return {{"model", f.model},
          {"image", {m.size, m.size, f.channels}},
          {"layers", layers},
          {"parameters", m.parameters},
          {"multiply_adds", m.multiply_adds},
          {"flop", 2 * m.multiply_adds},
          {"saved_bytes", {{"f32", m.saved.bytes(DType::kF32)}, {"bf16", m.saved.bytes(DType::kBf16)}}}};
}

int info(const InfoFlags& f) {
  if (f.json) {
    const nlohmann::json all = f.model.empty() ? environment(omp_get_max_threads()) : model_json(f);
    fmt::print("{}\n", json_text(all, 2));
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
  sub->add_option("--model", flags->model, "a model: its layers, their outputs, parameters, multiply-adds and memory");
  sub->add_option("--image-size", flags->size,
                  "height and width of the model's images; default: 224, or 32 for networks of CIFAR")
      ->check(above_zero());
  sub->add_option("--channels", flags->channels, "channels of the model's images")
      ->check(above_zero())
      ->capture_default_str();
  sub->add_option("--classes", flags->classes, "classes of the model; default: its own, 10 or 1000")
      ->check(above_zero());
  sub->add_flag("--json", flags->json, "as JSON; for the build: the content of a run's env.json");
  sub->callback([flags, &command] { command = [flags] { return info(*flags); }; });
}

}  // namespace fulcrum::apps
