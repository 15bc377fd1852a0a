// Evaluation: the logits, predictions and metrics of a model on a data set.
//
//   const Evaluation e = evaluate(model, loader, 1, class_counts, world());
//   if (e.stopped) …                                    // a signal came
//   e.metrics.top1;  e.save(run / "predictions.safetensors", epoch);
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include <fulcrum/core/communicator.h>
#include <fulcrum/data/loader.h>
#include <fulcrum/layers/module.h>

#include "apps/metrics.h"

namespace fulcrum::apps {

struct Evaluation {
  bool stopped = false;  // by a signal, before the end: the rest is empty
  Metrics metrics;
  Tensor logits;               // f32 [N, C]
  Tensor labels, predictions;  // i64 [N]
  Tensor confidence;           // f32 [N], the largest softmax probability

  /// Writes label, prediction and confidence as tensors, and the epoch as metadata.
  void save(const std::filesystem::path& path, int64_t epoch) const;
};

/// The logits of every sample of a loader in evaluation mode, f32 [N, C] on the host; undefined if a signal came. With
/// several processes each computes a part of the batches, and all get the complete result. The logits are the network's
/// outputs times `scale`: logit_scale() of losses.h.
Tensor predict(Module& model, const Loader& loader, double scale, Communicator& processes);

/// `class_counts` [C] of the training set sort the classes into many, medium and few.
Evaluation evaluate(Module& model, const Loader& loader, double scale, const std::vector<int64_t>& class_counts,
                    Communicator& processes);

/// The number of images whose logits are not all finite.
int64_t non_finite_rows(const Evaluation& evaluation);

/// A part of the data that is evaluated beside the test set: the name in the results, and its loader.
struct EvaluatedSplit {
  std::string name;
  Loader loader;
};
/// Metrics by the name of the part (evaluate_splits), without their lists by class.
nlohmann::json without_classes(nlohmann::json splits);
/// The metrics of each part by its name, as JSON; nothing if a signal came.
std::optional<nlohmann::json> evaluate_splits(Module& model, const std::vector<EvaluatedSplit>& splits, double scale,
                                              const std::vector<int64_t>& class_counts, Communicator& processes);

}  // namespace fulcrum::apps
