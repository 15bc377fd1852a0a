#include <fulcrum/core/inference_mode.h>

#include <fulcrum/core/kept_weights.h>

namespace fulcrum {

InferenceMode::InferenceMode()
    : kept_(std::make_unique<KeptWeights>()), previous_(std::exchange(KeptWeights::active, kept_.get())) {}
InferenceMode::~InferenceMode() { KeptWeights::active = previous_; }

Tensor KeptWeights::get(const Tensor& weight, const WeightForm& form, const Make& make) {
  const std::pair key(weight.raw(), form);
  if (const auto found = kept_.find(key); found != kept_.end()) return found->second.form;
  if (kept_.size() >= kMost) kept_.clear();
  return kept_.emplace(key, Kept{weight, make()}).first->second.form;
}

}  // namespace fulcrum
