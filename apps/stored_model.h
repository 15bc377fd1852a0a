// A trained model in a run directory or a file of its own, with the settings it was trained with.
//
//   const StoredModel stored = open_stored_model("runs/first", flags.settings);
//   use_device(stored.config.train);
//   const ModelInputs inputs = inputs_of(stored);
//   const std::unique_ptr<Module> model = build(stored, inputs.image, std::ssize(inputs.classes));
#pragma once

#include <filesystem>
#include <memory>

#include <fulcrum/core/serialize.h>

#include "apps/model_inputs.h"
#include "apps/settings_flags.h"

namespace fulcrum::apps {

struct StoredModel {
  std::filesystem::path file;
  TensorFile tensors;
  Config config;  // stored in the file, changed by the command line
};

/// Whether a setting changes what eval, predict or export make of a trained model: those of the data and the network, of
/// the scale of its logits and of the device; none that says how to train.
bool acts_on_stored_model(const std::string& key);

/// `path` is a safetensors file, or a run directory: its last.safetensors. Files of other programs
/// have no settings: the command line gives them. Throws UsageError for settings that would change nothing.
StoredModel open_stored_model(const std::filesystem::path& path, const SettingsFlags& settings);

/// Throws UsageError if `output`, the value of `flag`, is the model's own file.
void refuse_to_replace(const StoredModel& stored, const std::string& flag, const std::filesystem::path& output);

/// The inputs stored in the file; else those of data.image_size, data.channels, data.mean and data.std, with numbered
/// classes; else those of the data set.
ModelInputs inputs_of(const StoredModel& stored);

/// The network with its weights, or their moving averages if the run has them, in f32 on the CPU. `image` is [H, W, C].
std::unique_ptr<Module> build(const StoredModel& stored, const Shape& image, int64_t classes);

}  // namespace fulcrum::apps
