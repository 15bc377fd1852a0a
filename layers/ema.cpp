#include <fulcrum/layers/ema.h>

#include <fulcrum/core/arena.h>

namespace fulcrum {

namespace {

Tensor copy_of(const Tensor& t) {
  Tensor copy = empty_like(t);
  copy.copy_from(t);
  return copy;
}

}  // namespace

Ema::Ema(Module& model, double decay) : decay_(decay) {
  check(decay >= 0 && decay < 1, "[ema] expected a decay in [0, 1), got ", decay);
  const auto take = [&](const std::vector<NamedTensor>& tensors) {
    for (const NamedTensor& t : tensors) {
      if (!is_floating(t.tensor.dtype())) continue;  // counters
      live_.push_back(t);
      averages_.push_back({t.name, copy_of(t.tensor.detach()), t.convolution});
      pairs_.push_back({averages_.back().tensor, t.tensor.detach()});
    }
  };
  take(model.named_parameters());
  take(model.named_buffers());
}

void Ema::update(const Tensor& control) {
  if (pairs_.empty()) return;
  dispatch(pairs_.front().y, [&]<class K>() { K::lerp_all(pairs_, 1 - decay_, control); });
}

void Ema::exchange() {
  for (size_t i = 0; i < live_.size(); i++) {
    Tensor value = live_[i].tensor.detach();
    const Tensor kept = copy_of(value);
    value.copy_from(averages_[i].tensor);
    averages_[i].tensor.copy_from(kept);
    refresh_twin(live_[i].tensor);
  }
}

}  // namespace fulcrum
