// The data behind the report, read from a run directory and checked.
//
//   RunData run = read_run("runs/absgd");
//   run.epochs.back().train_top1;  run.last_evaluated()->test->balanced;  run.class_name(3);
//
// Numbers that are absent or null are NaN, absent lists are empty, and absent files are empty optionals. Throws Error,
// which names file, line and key, if something is malformed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <fulcrum/core/tensor.h>

#include "apps/config.h"

namespace fulcrum::apps {

inline constexpr double kAbsent = std::numeric_limits<double>::quiet_NaN();

/// Metrics of a data set after an epoch; shares in [0, 1].
struct EpochMetrics {
  double top1 = kAbsent, top5 = kAbsent, balanced = kAbsent, worst_class = kAbsent;
  double many = kAbsent, medium = kAbsent, few = kAbsent;
  double macro_f1 = kAbsent, auroc = kAbsent, auprc = kAbsent, ece = kAbsent, loss = kAbsent;
  std::vector<double> per_class;  // recall [C]
};

struct Metric {
  const char* key;
  const char* name;
  double EpochMetrics::*value;
  bool is_share;
};

/// In the order of the tables.
inline constexpr Metric kMetrics[] = {
    {"top1", "Top-1", &EpochMetrics::top1, true},
    {"balanced", "Balanced", &EpochMetrics::balanced, true},
    {"worst_class", "Worst class", &EpochMetrics::worst_class, true},
    {"many", "Many", &EpochMetrics::many, true},
    {"medium", "Medium", &EpochMetrics::medium, true},
    {"few", "Few", &EpochMetrics::few, true},
    {"macro_f1", "Macro F1", &EpochMetrics::macro_f1, true},
    {"auroc", "AUROC", &EpochMetrics::auroc, true},
    {"auprc", "AUPRC", &EpochMetrics::auprc, true},
    {"top5", "Top-5", &EpochMetrics::top5, true},
    {"ece", "ECE", &EpochMetrics::ece, true},
    {"loss", "Loss", &EpochMetrics::loss, false},
};

/// Whether the metric is informative: of top-5 among five classes every answer is right.
inline bool says_something(const Metric& m, size_t classes) { return m.value != &EpochMetrics::top5 || classes > 5; }

struct EpochRow {
  int64_t epoch = 0;  // from 0
  double lr = kAbsent, images = kAbsent, images_per_s = kAbsent;
  double train_loss = kAbsent, train_top1 = kAbsent, objective = kAbsent;
  double weight_sum = kAbsent, effective_fraction = kAbsent;
  double inv_lambda = kAbsent, log_u = kAbsent, kl_objective = kAbsent;
  std::vector<double> class_weight_share;                                           // [C]
  std::vector<int64_t> weight_histogram;                                            // [kWeightBins.count()]
  std::vector<int64_t> loss_histogram;                                              // [kLossBins.count()]
  double wrong_auroc = kAbsent, wrong_precision = kAbsent, wrong_recall = kAbsent;  // by low mean weights
  double wrong_auroc_by_loss = kAbsent;                                             // by large last losses
  std::optional<EpochMetrics> test, val;
  std::vector<std::pair<std::string, EpochMetrics>> splits;  // data.eval_splits, by name
};

struct DatasetInfo {
  std::string name;
  std::vector<std::string> classes;
  std::vector<int64_t> train_counts, test_counts;
};

struct Predictions {
  std::vector<int64_t> label, prediction;
  std::vector<double> confidence;
  std::optional<int64_t> epoch;
};

struct Thumbnails {
  std::vector<int64_t> sample;  // positions in Samples, not in the data set
  Tensor images;                // u8 [k, h, w, c]
};

/// The training samples, one entry each.
struct Samples {
  std::vector<int64_t> index, label, clean_label;
  std::vector<double> mean_weight, weight, loss;
  Thumbnails largest, smallest;
  int64_t wrong_labels() const;
};

struct BestEpoch {
  int64_t epoch = 0;
  std::string selected_on;  // "test" or "val"
  EpochMetrics metrics;     // on that set
};

struct RunData {
  std::filesystem::path directory;
  std::string name;
  Config config;
  std::vector<EpochRow> epochs;
  bool torn = false;  // the last line of metrics.jsonl was incomplete and is left out
  std::optional<DatasetInfo> data;
  std::optional<Predictions> predictions;
  std::optional<Samples> samples;
  std::optional<BestEpoch> best;
  bool ended = false;          // by result.json, which counts for a run that stopped early
  nlohmann::json environment;  // null where there is none

  /// The number of classes; 0 if no file tells.
  size_t classes() const;
  /// The class's number if its name is unknown.
  std::string class_name(size_t c) const;
  /// Training samples of the class, 0 where unknown.
  int64_t class_size(size_t c) const;
  /// Whether class sizes differ by more than noise, which makes equal classes differ by a few samples.
  bool sizes_differ() const;
  const EpochRow* last_evaluated() const;
  /// The number of epochs done, of config.train.epochs.
  int64_t done() const;
  bool finished() const { return ended || done() >= config.train.epochs; }
};

RunData read_run(const std::filesystem::path& directory);

// ---- parts of read_run, in tensors.cpp ----

/// Checks labels against `classes`, unless that is 0.
Predictions read_predictions(const std::filesystem::path& file, size_t classes);
Samples read_samples(const std::filesystem::path& file, size_t classes);

}  // namespace fulcrum::apps
