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

/// What a recorded step reads and writes beside the model (recorded_epoch.cpp).
struct RecordedStep {
  RecordedStep(const Loader& loader, Tensor totals, Tensor control, std::function<void(const Batch&)> train);
  BatchSlot slot;
  Readings readings;
  Replay replay;
};

class Trainer {
 public:
  enum class Start { kFresh, kResume, kResumeChanged };
  /// Builds everything and, to resume, restores config.train.output/last.safetensors. Settings may
  /// differ from the checkpoint's only with kResumeChanged.
  /// In one of several processes it trains on a part of each batch; the first writes all files and prints.
  Trainer(Config config, Start start, Communicator& processes);
  /// `after_epoch` gets the number of finished epochs as soon as their checkpoint is written, as long as there are more.
  TrainOutcome run(std::function<void(int64_t epochs)> after_epoch = {});

 private:
  void add_eval_loaders();
  /// Writes the run's first files; `pretrained` says what weights it begins with.
  void begin(const std::string& pretrained);
  void resume(Start start);
  void print_warnings();
  TrainOutcome run_to_end();
  /// All epochs done, or none better for train.patience of them.
  bool finished() const;
  /// False when a signal came while samples were chosen, which a resumed run then does again.
  bool begin_epoch(int64_t epoch);
  bool prune(int64_t epoch);
  /// False when a signal or a non-finite number ended the epoch early.
  bool train_epoch();
  /// The same on a GPU, where the step is replayed.
  bool train_recorded_epoch();
  void run_staged(StagedBatch staged);
  /// Whether the step is recorded: on a GPU, one update a batch, and nobody has said otherwise.
  bool records() const;
  /// What of it runs eagerly for all that, for the reader of the log; else empty.
  std::string eager_part() const;
  void show_progress(int64_t step, int64_t last, std::span<const double> totals);
  /// Tells layers that work over the whole batch which part of it this process has.
  void announce_part(const Batch& batch);
  /// Adds the batch to the gradients and, with the last of its group, updates.
  void train_batch(const Batch& batch);
  /// Sums of the batch, over all processes, into totals_.
  void add_metrics(const Batch& batch, const Tensor& logits, const Tensor& losses);
  /// Running statistics that each process has of its parts become the same in all.
  void share_statistics();
  /// Refuses processes that begin with other weights, or go on from other checkpoints.
  void check_state_alike();
  /// Batches that make the update to which batch number `batch` of the epoch belongs.
  int64_t group_size(int64_t batch) const;
  bool group_ends(int64_t batch) const;
  int64_t steps() const;
  /// Whether a checkpoint is due after this many batches of the epoch.
  bool save_due(int64_t batches) const;
  /// False when a signal came during the evaluation, which a resumed run then does again.
  bool finish_epoch();
  /// Those that are evaluated: in a smoke test not all.
  Loader eval_loader(const Dataset& data, const std::vector<int64_t>& indices) const;
  /// Adds the test and validation metrics to the epoch's row and keeps the best model; nothing
  /// when a signal came.
  bool evaluate_epoch(nlohmann::json& row, const SampleTable& seen);
  /// `row` is the epoch's.
  void keep_if_best(const nlohmann::json& row);
  /// Whether the last update found a number that is not finite; then its batches are looked at once more.
  bool stopped_by_non_finite();
  /// Where a batch has a number that is not finite, the first layer that gave one, and whose loss is one: samples of
  /// the data set.
  struct NonFinite {
    std::string layer;
    std::vector<int64_t> samples;
  };
  NonFinite find_non_finite(const Batch& batch);
  nlohmann::json training_metrics(const SampleTable& seen);
  /// suspects.csv, where labels may be wrong and weights say which; false when a signal came.
  bool save_suspects();
  nlohmann::json result() const;
  TrainOutcome stopped();
  void save();
  /// report.html; what goes wrong there does not spoil the run.
  void write_page();

  bool several() const { return processes_.size() > 1; }
  /// For tensors of the training.
  Communicator& on_device() { return device_processes_ ? *device_processes_ : processes_; }

  Communicator& processes_;
  Config config_;
  RunDirectory run_;
  ExperimentData data_;
  std::unique_ptr<Communicator> device_processes_;  // on a GPU, where there are several
  std::shared_ptr<BatchPart> part_ = std::make_shared<BatchPart>();
  std::unique_ptr<Module> model_;
  MemoryEstimate memory_;  // of this process
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
  std::string non_finite_;                  // what stopped the run
  std::unique_ptr<RecordedStep> recorded_;  // last: its step uses the rest
};

}  // namespace fulcrum::apps
