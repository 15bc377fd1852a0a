// The full state of a run in one safetensors file: last.safetensors, and the one before it.
//
//   if (recover_checkpoint("runs/first")) load_checkpoint("runs/first/last.safetensors", state, data.checksums);
//   save_checkpoint("runs/first/last.safetensors", state, to_toml(config), data.checksums);
//
// Tensors: the model under torchvision's names; optim.<slot>.<parameter>; ema.<name>, the moving
// average of the model where there is one; state.<name>. Metadata:
// config (TOML), inputs (JSON, model_inputs.h), progress (JSON), data and test_data (DataChecksums), checksum
// (sealed_file.h), cudnn_plans (cuda_options.h; of a run on a GPU) and, of further processes, cudnn_plans.1 and so on.
// PyTorch reads the model's part as it is.
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
  /// The run ended here because a number was not finite. Saved to be read by people and by grids; a
  /// resumed run tries again.
  bool non_finite = false;
};

struct RunState {
  Module& model;
  Optimizer& optimizer;
  std::vector<std::pair<std::string, Tensor>> tensors;  // live; saved as state.<name>
  RunProgress progress;
  Ema* ema = nullptr;
  std::vector<std::string> plans = {};  // cudnn_plans() of each process of a run on GPUs, which may have timed others
};

/// Replaces the file at once: whenever the process or the machine stops, there is a whole one. What it
/// replaces stays beside it as previous.safetensors.
void save_checkpoint(const std::filesystem::path& path, RunState& state, const std::string& config,
                     const DataChecksums& data, const std::string& inputs = {});

/// Whether the run has a last.safetensors to go on from. Where that is damaged or gone, and
/// previous.safetensors is whole, the previous one takes its place, with a warning on stderr. An Error
/// where there are checkpoints and none is whole.
bool recover_checkpoint(const std::filesystem::path& run);

/// Of the checkpoint, without its tensors; an Error where it has none.
RunProgress stored_progress(const std::filesystem::path& path);

/// Of the run's last checkpoint or, where that cannot be read, the one before it; nothing where a run has neither. Looks
/// at no tensors and changes nothing. An Error where there are checkpoints and none can be read.
std::optional<RunProgress> readable_progress(const std::filesystem::path& run);

/// Gives a checkpoint, or a best.safetensors, to a run whose settings `config` (TOML) are the same so far. `without_risk`
/// leaves out the state of the risk, which is another from now on.
void adopt_checkpoint(const std::filesystem::path& path, const std::string& config, bool without_risk);

/// Restores everything in place. An Error lists what is missing, unexpected or mis-shaped (a
/// checkpoint of another model), or says that the data differ; nothing is changed then. With
/// `other_risk` the state of a risk may be missing or of another shape, and starts anew, or be left over.
void load_checkpoint(const std::filesystem::path& path, RunState& state, const DataChecksums& data,
                     bool other_risk = false);

/// The model's part of any Fulcrum or PyTorch safetensors file: what is not optim.*, ema.* or state.*.
TensorMap model_tensors(const TensorFile& file);
/// The same with the moving averages in the place of what they average: what a run evaluates.
TensorMap evaluated_tensors(const TensorFile& file);

}  // namespace fulcrum::apps
