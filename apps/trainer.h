// Trainer: runs a configuration from its first batch, or from a checkpoint, to its result.
//
//   Trainer trainer(config, Trainer::Start::kFresh, world());
//   TrainOutcome outcome = trainer.run();
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>

#include <nlohmann/json.hpp>

#include <fulcrum/core/communicator.h>
#include <fulcrum/core/ops.h>
#include <fulcrum/core/replay.h>
#include <fulcrum/data/batch_slot.h>
#include <fulcrum/layers/distribute.h>
#include <fulcrum/layers/ema.h>
#include <fulcrum/layers/layers.h>

#include "apps/checkpoint.h"
#include "apps/config.h"
#include "apps/evaluation.h"
#include "apps/exit_codes.h"
#include "apps/experiment.h"
#include "apps/losses.h"
#include "apps/memory_estimate.h"
#include "apps/progress.h"
#include "apps/readings.h"
#include "apps/run_directory.h"
#include "apps/samples.h"

namespace fulcrum::apps {

struct TrainOutcome {
  int exit_code = kExitDone;  // 128 + signal when stopped
  nlohmann::json result;      // of a finished run
};

/// What a recorded step reads and writes besides the model (recorded_epoch.cpp).
struct RecordedStep {
  RecordedStep(const Loader& loader, Tensor totals, Tensor control, std::function<void(const Batch&)> train);
  BatchSlot slot;
  Readings readings;
  Replay replay;
};

class Trainer {
 public:
  enum class Start { kFresh, kResume, kResumeChanged };
  /// Builds everything and, to resume, restores config.train.output/last.safetensors. Settings may differ from the
  /// checkpoint's only with kResumeChanged. If there are several processes, each trains on a part of every batch; the
  /// first one writes all files and prints.
  Trainer(Config config, Start start, Communicator& processes);
  /// Calls `after_epoch` with the number of finished epochs, after each but the last, as soon as its checkpoint is
  /// written.
  TrainOutcome run(std::function<void(int64_t epochs)> after_epoch = {});

 private:
  void add_eval_loaders();
  /// Writes the run's first files; `pretrained` says what weights it begins with.
  void begin(const std::string& pretrained);
  void resume(Start start);
  void print_warnings();
  TrainOutcome run_to_end();
  /// Whether all epochs are done, or the last train.patience of them brought no better one.
  bool finished() const;
  /// Sets what depends on the epoch. False if a signal came during pruning, which a resumed run then repeats.
  bool begin_epoch(int64_t epoch);
  bool prune(int64_t epoch);
  /// False if a signal or a non-finite number ended the epoch early.
  bool train_epoch();
  /// The same on a GPU, with a recorded step that is replayed.
  bool train_recorded_epoch();
  void run_staged(StagedBatch staged);
  /// Whether the step is recorded as a CUDA graph: on a GPU, with one batch an update, unless train.graph is off.
  bool records() const;
  /// What runs eagerly although train.graph is on, as a line for the log; else empty.
  std::string eager_part() const;
  void show_progress(int64_t step, int64_t last, std::span<const double> totals);
  /// Tells layers that work over the whole batch which part of it this process has.
  void announce_part(const Batch& batch);
  /// Adds the batch's gradients and, after the last batch of a group, updates.
  void train_batch(const Batch& batch);
  /// Adds the sums of the batch, over all processes, to totals_.
  void add_metrics(const Batch& batch, const Tensor& logits, const Tensor& losses);
  /// Averages the running statistics, which each process has of its own parts, over all processes.
  void share_statistics();
  /// Throws UsageError if the processes begin with different weights or resume from different checkpoints.
  void check_state_alike();
  /// The number of batches in the update to which batch `batch` of the epoch belongs.
  int64_t group_size(int64_t batch) const;
  bool group_ends(int64_t batch) const;
  int64_t steps() const;
  /// Whether a checkpoint is due after this many batches of the epoch.
  bool save_due(int64_t batches) const;
  /// False if a signal came during the evaluation, which a resumed run then repeats.
  bool finish_epoch();
  /// Loads the samples at `indices`, or the first of them if train.limit_batches is set.
  Loader eval_loader(const Dataset& data, const std::vector<int64_t>& indices) const;
  /// Adds the test and validation metrics to the epoch's row and keeps the best model; returns false, and keeps
  /// nothing, if a signal came.
  bool evaluate_epoch(nlohmann::json& row, const SampleTable& seen);
  /// Writes best.safetensors if the epoch of `row` is the best so far.
  void keep_if_best(const nlohmann::json& row);
  /// Whether the last update met a number that is not finite; if so, saves the run and searches its batches for the
  /// source.
  bool stopped_by_non_finite();
  /// The source of non-finite numbers in a batch: the first layer that produced one, and the indices (in the data set)
  /// of the samples whose loss is one.
  struct NonFinite {
    std::string layer;
    std::vector<int64_t> samples;
  };
  NonFinite find_non_finite(const Batch& batch);
  nlohmann::json training_metrics(const SampleTable& seen);
  /// Writes suspects.csv, if the data, the risk or the loss say that labels may be wrong; false if a signal came.
  bool save_suspects();
  nlohmann::json result() const;
  TrainOutcome stopped();
  void save();
  /// Writes report.html; an Error there becomes a warning.
  void write_page();

  bool several() const { return processes_.size() > 1; }
  /// The communicator for tensors on the device that trains.
  Communicator& on_device() { return device_processes_ ? *device_processes_ : processes_; }

  Communicator& processes_;
  Config config_;
  RunDirectory run_;
  ExperimentData data_;
  std::unique_ptr<Communicator> device_processes_;  // only of several processes on GPUs
  std::shared_ptr<BatchPart> part_ = std::make_shared<BatchPart>();
  std::unique_ptr<Module> model_;
  MemoryEstimate memory_;  // for this process
  std::unique_ptr<Optimizer> optimizer_;
  Schedule schedule_;
  Loader train_loader_, test_loader_;
  std::unique_ptr<Loader> val_loader_;
  std::vector<EvaluatedSplit> splits_;
  Tensor totals_;  // of the epoch so far: add_metrics in kernels.inc
  SampleRecords samples_;
  std::unique_ptr<Ema> ema_;
  RunState state_;
  LossFunction loss_;
  ProgressLine progress_;
  std::function<void(int64_t epochs)> after_epoch_;
  std::string non_finite_;                  // the message that stopped the run
  std::unique_ptr<RecordedStep> recorded_;  // the last member: its step uses the others
};

}  // namespace fulcrum::apps
