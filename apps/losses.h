// The loss of a run: what [loss] of the settings describes, on the class counts that training sees.
//
//   LossFunction loss(config.loss, data.class_counts, device);
//   loss.begin_epoch(epoch);                              // deferred class weights
//   Tensor losses = loss(model(batch.images), batch.labels);   // [B]
#pragma once

#include <cstdint>
#include <vector>

#include <fulcrum/core/ops.h>

#include "apps/config.h"

namespace fulcrum::apps {

/// Refuses names that do not exist and parameters out of range.
void check_loss(const LossSettings& settings);

class LossFunction {
 public:
  LossFunction(const LossSettings& settings, const std::vector<int64_t>& class_counts,
               Device device);
  void begin_epoch(int64_t epoch);
  Tensor operator()(const Tensor& logits, const Tensor& labels) const;
  /// The class weights that the losses carry now, f32 [C]; undefined without.
  const Tensor& class_weight() const { return args_.class_weight; }

 private:
  LossSettings settings_;
  std::vector<int64_t> class_counts_;
  Device device_;
  CrossEntropyArgs args_;
};

}  // namespace fulcrum::apps
