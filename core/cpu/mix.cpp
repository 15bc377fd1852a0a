// Mixup and CutMix of a batch of images: mix_rules.h.
#include <fulcrum/core/mix_rules.h>

#include <fulcrum/core/cpu/parallel.h>
#include <fulcrum/core/kernels.h>

namespace fulcrum {

void Cpu::mix(Tensor& y, Tensor& share, const Tensor& x, const Tensor& plan) {
  const int64_t batch = x.size(0), h = x.size(1), row_values = x.size(2) * x.size(3), channels = x.size(3);
  visit_floating(y.dtype(), "mix", [&]<class T>() {
    const auto one = [&](int64_t b) {
      const MixRule rule(plan.data<int64_t>(), batch, b);
      const float* own = x.data<float>() + b * h * row_values;
      const float* before = x.data<float>() + (b + batch - 1) % batch * h * row_values;
      T* out = y.data<T>() + b * h * row_values;
      share.data<float>()[b] = rule.label_share;
      for (int64_t i = 0; i < h; i++, own += row_values, before += row_values, out += row_values) {
        for (int64_t k = 0; k < row_values; k++) out[k] = T(rule.mixed(own[k], before[k]));
        if (!rule.in_box(i, rule.left)) continue;
        for (int64_t k = rule.left * channels; k < rule.right * channels; k++) out[k] = T(before[k]);
      }
    };
    cpu::parallel_for(y.size(0), 16, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; b++) one(b);
    });
  });
}

}  // namespace fulcrum
