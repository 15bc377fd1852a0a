#include <fulcrum/layers/ema.h>

#include <algorithm>

#include <fulcrum/core/arena.h>
#include <fulcrum/core/kernels.h>
#include <fulcrum/core/memory.h>

namespace fulcrum {

Ema::Ema(Module& model, double decay) : decay_(decay) {
  check(decay >= 0 && decay < 1, "[ema] expected a decay in [0, 1), got ", decay);
  const auto take = [&](const std::vector<NamedTensor>& tensors) {
    for (const NamedTensor& t : tensors) {
      if (!is_floating(t.tensor.dtype())) continue;  // counters
      live_.push_back(t);
      averages_.push_back({t.name, t.tensor.detach().clone(), t.convolution});
      pairs_.push_back({averages_.back().tensor, t.tensor});  // a handle: follows if an optimiser moves the parameter
    }
  };
  take(model.named_parameters());
  take(model.named_buffers());
  size_t most = 0;
  for (const NamedTensor& t : live_) most = std::max(most, t.tensor.bytes());
  if (live_.empty()) return;
  const auto block = Storage::allocate(live_.front().tensor.device(), most);
  for (const NamedTensor& t : live_) spares_.emplace_back(block, 0, t.tensor.shape(), t.tensor.dtype());
}

void Ema::update(const Tensor& control) {
  if (pairs_.empty()) return;
  for (const auto& [average, value] : pairs_)
    check(average.dtype() == value.dtype() && average.device() == value.device(), "[ema] expected ", average.dtype(),
          " on ", average.device(), " as when the average was made, got ", value.dtype(), " on ", value.device(),
          "; make it after to()");
  dispatch(pairs_.front().y, [&]<class K>() { K::lerp_all(pairs_, 1 - decay_, control); });
}

void Ema::exchange() {
  for (size_t i = 0; i < live_.size(); i++) {
    Tensor value = live_[i].tensor;
    spares_[i].copy_from(value);
    value.copy_from(averages_[i].tensor);
    averages_[i].tensor.copy_from(spares_[i]);
  }
}

}  // namespace fulcrum
