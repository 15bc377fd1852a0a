// What a trained model takes and answers: the shape of its images, how they are normalised, and the
// names of its classes. Model files carry it as JSON in the metadata 'inputs', so that `fulcrum
// predict` and `fulcrum export` need no data set.
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

/// Where two networks number the same count of classes otherwise, the first that differs, in words: "class 0 is cat there and
/// dog here". Empty where they do not, where the counts differ, or where one has numbers for names.
std::string class_difference(const std::vector<std::string>& there, const std::vector<std::string>& here);

/// {"shape": [H, W, C], "mean": [C], "std": [C], "classes": ["…"]}.
std::string to_text(const ModelInputs& inputs);
/// Nothing where the file does not say; an Error that names `file` where it says nonsense.
std::optional<ModelInputs> read_inputs(const TensorFile& tensors, const std::string& file);

}  // namespace fulcrum::apps
