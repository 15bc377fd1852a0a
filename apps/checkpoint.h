// The full state of a run in one safetensors file: last.safetensors, and the one before it.
//
//   if (recover_checkpoint("runs/first")) load_checkpoint("runs/first/last.safetensors", state, data.checksums);
//   save_checkpoint("runs/first/last.safetensors", state, to_toml(config), data.checksums);
//
// Tensors: the model under torchvision's names; optim.<slot>.<parameter>; ema.<name>, the moving average of the model,
// if the run keeps one; state.<name>. Metadata: config (TOML), inputs (JSON, model_inputs.h), progress (JSON), data and
// test_data (DataChecksums), checksum (sealed_file.h) and, for runs on a GPU, cudnn_plans (cuda_options.h), with
// cudnn_plans.1, … for further processes. PyTorch can read the model's tensors as they are.
#pragma once

#include <filesystem>
#include <string>

#include <nlohmann/json.hpp>

#include <fulcrum/layers/ema.h>
#include <fulcrum/optim/optimizer.h>

#include "apps/data_checksums.h"

namespace fulcrum::apps {

/// Where a run stands; the next batch to train on is `batch` of `epoch`.
struct RunProgress {
  int64_t epoch = 0;
  int64_t batch = 0;
  nlohmann::json best;    // metrics of the best epoch so far; null before the first
  nlohmann::json latest;  // metrics of the last finished epoch
  /// The run ended here on a non-finite number. Saved for people and for grids; a resumed run tries again.
  bool non_finite = false;
};

struct RunState {
  Module& model;
  Optimizer& optimizer;
  std::vector<std::pair<std::string, Tensor>> tensors;  // live; saved as state.<name>
  RunProgress progress;
  Ema* ema = nullptr;
  std::vector<std::string> plans = {};  // GPU runs: cudnn_plans() of each process, since each may have chosen others
};

/// Replaces the file atomically: whenever the process or the machine stops, a whole checkpoint exists. The replaced
/// file is kept beside it as previous.safetensors.
void save_checkpoint(const std::filesystem::path& path, RunState& state, const std::string& config,
                     const DataChecksums& data, const std::string& inputs = {});

/// Whether the run has a last.safetensors to resume from. If that file is damaged or missing and previous.safetensors
/// is whole, renames the latter to last.safetensors, with a warning on stderr. Throws Error if there are checkpoints
/// but none is whole.
bool recover_checkpoint(const std::filesystem::path& run);

/// The progress stored in a checkpoint; reads no tensors. Throws Error if the file holds none.
RunProgress stored_progress(const std::filesystem::path& path);

/// The progress in the run's last checkpoint or, if that cannot be read, in the one before it; nothing if the run has
/// neither. Reads no tensors and changes nothing. Throws Error if there are checkpoints but none can be read.
std::optional<RunProgress> readable_progress(const std::filesystem::path& run);

/// Makes a copied checkpoint or best.safetensors that of another run, whose settings `config` (TOML) have had the same
/// effect so far. `without_risk` drops the state of the risk (all but its statistics), for a run that continues with
/// another risk.
void adopt_checkpoint(const std::filesystem::path& path, const std::string& config, bool without_risk);

/// Restores everything in place. Throws Error, without changing a tensor, if the data differ or if tensors are missing,
/// unexpected or mis-shaped (a checkpoint of another model); the message lists them. With `other_risk` the state of a
/// risk may be missing or mis-shaped, and then starts anew; unexpected state of a risk is ignored.
void load_checkpoint(const std::filesystem::path& path, RunState& state, const DataChecksums& data,
                     bool other_risk = false);

/// The model's tensors in any Fulcrum or PyTorch safetensors file: all but optim.*, ema.* and state.*.
TensorMap model_tensors(const TensorFile& file);
/// The same, with moving averages in place of the tensors that they average: what a run evaluates.
TensorMap evaluated_tensors(const TensorFile& file);

}  // namespace fulcrum::apps
