// ModelInputs: the shape and normalisation of a trained model's images, and the names of its classes. Model files carry
// it as JSON in the metadata 'inputs', so that `fulcrum predict` and `fulcrum export` need no data set.
//
//   file.metadata["inputs"] = to_text(inputs_of(data));
//   if (auto inputs = read_inputs(file, "best.safetensors")) inputs->classes[3];
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <fulcrum/core/serialize.h>

#include "apps/experiment.h"

namespace fulcrum::apps {

struct ModelInputs {
  Shape image;  // [H, W, C]
  ChannelStatistics statistics;
  std::vector<std::string> classes;
};

ModelInputs inputs_of(const ExperimentData& data);

/// The first class that two networks of the same number of classes name differently, in words: "class 0 is cat there
/// and dog here". Empty if there is none, if the numbers differ, or if one network has numbers for names.
std::string class_difference(const std::vector<std::string>& there, const std::vector<std::string>& here);

/// {"shape": [H, W, C], "mean": [C], "std": [C], "classes": ["…"]}.
std::string to_text(const ModelInputs& inputs);
/// The inputs in the file's metadata; nothing if it has none. Throws Error, which names `file`, if they are malformed.
std::optional<ModelInputs> read_inputs(const TensorFile& tensors, const std::string& file);

}  // namespace fulcrum::apps
