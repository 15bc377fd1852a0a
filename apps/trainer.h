// Trainer: runs a configuration from its first batch, or from a checkpoint, to its result.
//
//   Trainer trainer(config, Trainer::Start::kFresh);
//   TrainOutcome outcome = trainer.run();
#pragma once

#include <csignal>
#include <filesystem>
#include <memory>
#include <string>

#include <nlohmann/json.hpp>

#include "apps/checkpoint.h"
#include "apps/config.h"
#include "apps/experiment.h"
#include "apps/metrics.h"
#include "apps/progress.h"

namespace fulcrum::apps {

inline constexpr int kExitDone = 0, kExitFailed = 1, kExitUsage = 2, kExitNonFinite = 3;

/// Set by the signal handler; the trainer finishes the step, saves and returns.
extern volatile std::sig_atomic_t stop_signal;

struct TrainOutcome {
  int exit_code = kExitDone;  // 128 + signal when stopped
  nlohmann::json result;      // of a finished run
};

class Trainer {
 public:
  enum class Start { kFresh, kResume, kResumeChanged };
  /// Builds everything and, to resume, restores config.train.output/last.safetensors. Settings may
  /// differ from the checkpoint's only with kResumeChanged.
  Trainer(Config config, Start start);
  TrainOutcome run();

 private:
  void begin_epoch(int64_t epoch);
  /// False when a signal or a non-finite number ended the epoch early.
  bool train_epoch();
  void train_batch(const Batch& batch);
  void finish_epoch();
  /// Adds the test and validation metrics to the epoch's row, keeps the best model, and returns the
  /// part of the progress line.
  std::string evaluate_epoch(nlohmann::json& row);
  Metrics evaluate(const Dataset& data, const Loader& loader);
  bool stopped_by_non_finite(const Batch& batch);
  std::string first_non_finite_layer(const Batch& batch);
  nlohmann::json training_metrics();
  void save();
  void write_index_lists() const;

  Config config_;
  std::filesystem::path output_;
  ExperimentData data_;
  Resnet model_;
  std::unique_ptr<Optimizer> optimizer_;
  Schedule schedule_;
  Loader train_loader_, test_loader_;
  std::unique_ptr<Loader> val_loader_;
  Tensor totals_;
  RunState state_;
  CrossEntropyArgs loss_;
  ProgressLine progress_;
  std::string non_finite_;  // what stopped the run
};

/// Logits of every sample of a loader, f32 [N, C] on the host, in evaluation mode.
Tensor predict(Module& model, const Loader& loader, int64_t classes);

}  // namespace fulcrum::apps
