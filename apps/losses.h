// The loss of a run: what the [loss] settings describe, for the class counts of the training set.
//
//   LossFunction loss(config.loss, data.class_counts, data.train->size(), device);
//   loss.begin_epoch(epoch);                              // deferred class weights
//   if (loss.prunes_before(epoch)) loss.prune(indices, predict(model, …), labels);
//   Tensor losses = loss(model(batch.images), batch);     // [B]
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <fulcrum/core/ops.h>
#include <fulcrum/data/loader.h>

#include "apps/config.h"

namespace fulcrum::apps {

/// Refuses names that do not exist and parameters out of range.
void check_loss(const LossSettings& settings);

/// Warnings about what is allowed but most likely a mistake: a class whose weight is 0.
std::vector<std::string> loss_warnings(const LossSettings& settings, const std::vector<int64_t>& class_counts);

/// Whether the loss is one for wrong labels: GCE, SCE, MAE, Jensen-Shannon, LDR-KL and their kin.
bool is_for_wrong_labels(const LossSettings& settings);

/// What makes logits of a network's answers, by multiplication: LDAM trains softmax(scale·cosines). 1 for other losses.
double logit_scale(const LossSettings& settings);

class LossFunction {
 public:
  /// `samples` is the size of the data set that the batches' indices refer to. Throws UsageError if the loss needs
  /// samples of every class and one has none.
  LossFunction(const LossSettings& settings, const std::vector<int64_t>& class_counts, int64_t samples, Device device);
  void begin_epoch(int64_t epoch);
  /// The per-sample losses of a training batch. ALDR-KL adapts the λ of its samples. A mixed sample has share·l(label)
  /// + (1 − share)·l(other label).
  Tensor operator()(const Tensor& logits, const Batch& batch);
  Tensor operator()(const Tensor& logits, const Tensor& labels, const Tensor& indices);
  /// Whether samples are pruned anew before this epoch (truncated GCE).
  bool prunes_before(int64_t epoch) const;
  /// Keeps those of the samples `indices` whose label has a probability above k. `logits` is [N, C] on the host.
  /// Returns the share of the samples that is left out.
  double prune(const std::vector<int64_t>& indices, const Tensor& logits, const std::vector<int64_t>& labels);
  /// Live tensors that a checkpoint must hold.
  std::vector<std::pair<std::string, Tensor>> state() const;
  /// The samples' weights [B], 0 for those that pruning leaves out.
  Tensor kept(const Tensor& weights, const Tensor& indices) const;
  /// The class weights that the losses carry now, f32 [C]; undefined without.
  const Tensor& class_weight() const { return args_.class_weight; }

 private:
  LossSettings settings_;
  std::vector<int64_t> class_counts_;
  Device device_;
  Tensor kept_;     // f32 [samples], 1 or 0; undefined without pruning
  Tensor lambdas_;  // f32 [samples], of ALDR-KL; undefined for other losses
  CrossEntropyArgs args_;
};

}  // namespace fulcrum::apps
