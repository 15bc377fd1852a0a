// A run directory as `train` writes it, made of a few numbers, for the tests of the report.
//
//   const TempDir dir;
//   write_run(dir / "run", {.classes = {"cat", "dog"}});
//   write_report({dir / "run"}, dir / "report.html");
#pragma once

#include "apps/config.h"
#include "apps/report/report.h"
#include "program_testing.h"

namespace fulcrum::testing {

struct RunOptions {
  std::vector<std::string> classes = {"cat", "dog", "eel"};
  int64_t epochs = 4;
  int64_t written = -1;  // epochs in metrics.jsonl; -1: all
  int64_t seed = 0;
  double lambda = 5;
  double shift = 0;  // added to the shares
  bool noise = false;
  bool complete = true;  // with the files that a run may lack
};

inline json evaluation_of(const RunOptions& o, int64_t epoch) {
  const double top1 = 0.5 + 0.1 * static_cast<double>(std::min<int64_t>(epoch, 3)) + o.shift;
  json per_class;
  for (size_t c = 0; c < o.classes.size(); c++)
    per_class.push_back(0.9 - 0.8 * static_cast<double>(c) / static_cast<double>(o.classes.size()));
  return {{"top1", top1},
          {"top5", nullptr},
          {"balanced", top1 - 0.05},
          {"worst_class", per_class.back()},
          {"many", 0.9},
          {"medium", nullptr},
          {"few", 0.123},
          {"loss", 1.25},
          {"macro_f1", 0.4321},
          {"ece", 0.0765},
          {"per_class", per_class}};
}

inline json metrics_row(const RunOptions& o, int64_t epoch) {
  const auto classes = static_cast<double>(o.classes.size());
  return {{"epoch", epoch},
          {"lr", 0.1},
          {"train", {{"loss", 1.5 - 0.1 * static_cast<double>(epoch)}, {"top1", 0.6}, {"objective", 1.7}}},
          {"weight_sum", 0.97},
          {"effective_fraction", 0.85},
          {"images_per_s", 100},
          {"inv_lambda", 1 / o.lambda},
          {"log_u", 0.3},
          {"kl_objective", nullptr},
          {"class_weight_share", std::vector<double>(o.classes.size(), 1 / classes)},
          {"test", evaluation_of(o, epoch)}};
}

inline std::string metrics_text(const RunOptions& o) {
  std::string text;
  for (int64_t e = 0; e < (o.written < 0 ? o.epochs : o.written); e++) text += metrics_row(o, e).dump() + "\n";
  return text;
}

inline Tensor f32_of(const std::vector<double>& values) {
  return from_vector({static_cast<int64_t>(values.size())}, values);
}

/// Twelve samples; with noise the label of every third is wrong and its weight low.
inline TensorMap samples_of(const RunOptions& o) {
  const auto classes = static_cast<int64_t>(o.classes.size());
  std::vector<int64_t> index, label, clean;
  std::vector<double> weight, loss;
  for (int64_t i = 0; i < 12; i++) {
    const bool wrong = o.noise && i % 3 == 0;
    index.push_back(100 + i);
    clean.push_back(i % classes);
    label.push_back((i + wrong) % classes);
    weight.push_back(wrong ? 0.01 * static_cast<double>(i + 1) : 1 + 0.1 * static_cast<double>(i));
    loss.push_back(0.25 * static_cast<double>(i));
  }
  const Tensor image = full({1, 8, 8, 3}, 77, {DType::kU8, {}});
  return {{"index", labels_of(index)},         {"label", labels_of(label)}, {"clean_label", labels_of(clean)},
          {"mean_weight", f32_of(weight)},     {"weight", f32_of(weight)},  {"loss", f32_of(loss)},
          {"largest.index", labels_of({111})}, {"largest.images", image},   {"smallest.index", labels_of({100})},
          {"smallest.images", image}};
}

inline TensorMap predictions_of(const RunOptions& o) {
  std::vector<int64_t> label, prediction;
  for (int64_t i = 0; i < 60; i++) {
    label.push_back(i % static_cast<int64_t>(o.classes.size()));
    prediction.push_back(i % 4 == 0 ? 0 : label.back());
  }
  return {{"label", labels_of(label)},
          {"prediction", labels_of(prediction)},
          {"confidence", f32_of(std::vector<double>(60, 0.8))}};
}

inline void write_run(const std::filesystem::path& run, const RunOptions& o = {}) {
  apps::Config config;
  config.train.epochs = o.epochs;
  config.train.seed = o.seed;
  config.train.output = run.string();
  config.risk.name = "kl";
  config.risk.lambda = o.lambda;
  write_text(run / "config.toml", apps::to_toml(config));
  write_text(run / "metrics.jsonl", metrics_text(o));
  if (!o.complete) return;
  std::vector<int64_t> counts;
  for (size_t c = 0; c < o.classes.size(); c++) counts.push_back(static_cast<int64_t>(1000 / (c + 1)));
  write_text(run / "data.json", json{{"name", "animals"},
                                     {"classes", o.classes},
                                     {"train_counts", counts},
                                     {"test_counts", counts},
                                     {"image_shape", {8, 8, 3}}}
                                    .dump());
  save_tensors(run / "predictions.safetensors", {predictions_of(o), {{"epoch", "3"}}});
  save_tensors(run / "samples.safetensors", {samples_of(o), {}});
  json best = evaluation_of(o, 2);
  best["epoch"] = 2, best["selected_on"] = "test";
  write_text(run / "result.json", json{{"top1", 0.8}, {"best", best}, {"epochs", o.epochs}}.dump());
  write_text(run / "env.json", json{{"git_commit", "abc123"}, {"threads", 2}}.dump());
}

inline std::string report_of(const std::vector<std::filesystem::path>& runs) {
  const TempDir dir;
  apps::write_report(runs, dir / "report.html");
  return read_text(dir / "report.html");
}

}  // namespace fulcrum::testing
