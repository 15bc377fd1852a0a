// A run that meets a number that is not finite: saves its last good weights and says where the number came from.
#include <cmath>

#include <fmt/format.h>

#include <fulcrum/core/autograd.h>

#include "apps/trainer.h"

namespace fulcrum::apps {

namespace {

bool all_finite(const Tensor& t) {
  for (double v : t.to_vector())
    if (!std::isfinite(v)) return false;
  return true;
}

}  // namespace

bool Trainer::stopped_by_non_finite(const Batch& batch) {
  if (optimizer_->finite()) return false;
  // The update did not happen: these are the last good weights, and the batch is to be tried again.
  optimizer_->clear_non_finite();
  state_.progress.batch -= state_.progress.batch % config_.train.accumulate;
  state_.progress.non_finite = true;
  save();
  const std::string layer = first_non_finite_layer(batch);
  non_finite_ = fmt::format(
      "non-finite {} at epoch {} step {}; the last good weights are in {}",
      layer.empty() ? "gradient (all outputs and the loss are finite)"
                    : "loss; first layer with a non-finite output: " + layer,
      state_.progress.epoch + 1, state_.progress.batch + 1, (run_ / "last.safetensors").string());
  return true;
}

std::string Trainer::first_non_finite_layer(const Batch& batch) {
  const NoGrad no_grad;
  std::string first;
  Tensor logits;
  {
    const ForwardObserver observer([&](const std::string& name, const Tensor& y) {
      if (first.empty() && !all_finite(y)) first = name.empty() ? "the network" : name;
    });
    logits = (*model_)(batch.images);
  }
  if (first.empty() && !all_finite(loss_(logits, batch))) first = "the loss";
  for (const std::string& found : processes_.all_gather(first))  // in the part of any process
    if (!found.empty()) return found;
  return first;
}

}  // namespace fulcrum::apps
