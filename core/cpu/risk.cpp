// Sample weights from the losses of a batch: the mean and the KL risk.
#include <cmath>
#include <limits>

#include <fulcrum/core/cpu/risk_sums.h>
#include <fulcrum/core/kernels.h>

namespace fulcrum {

namespace {

// The KL risk: equations (5) and (6) of docs/method.md. A is f32, or f64 for f64 losses.
template <class A>
void kl(Tensor& p, Tensor& state, Tensor& statistics, const Tensor& losses, const KlOptions& o) {
  const A* l = losses.data<A>();
  A* w = p.data<A>();
  const int64_t batch = losses.numel();
  const auto size = static_cast<double>(batch);
  double& log_u = state.data<double>()[kLogU];
  const double inv = state.data<double>()[kInvLambda];

  A extreme = l[0];  // the loss with the largest l·inv; relative to it, no exponent is above 0
  for (int64_t i = 1; i < batch; i++) extreme = inv > 0 ? std::max(extreme, l[i]) : std::min(extreme, l[i]);
  double total = 0;
  bool finite = true;
  for (int64_t i = 0; i < batch; i++) {
    finite = finite && std::isfinite(l[i]);
    w[i] = std::exp((l[i] - extreme) * static_cast<A>(inv));
    total += static_cast<double>(w[i]);
  }
  const double shift = static_cast<double>(extreme) * inv;
  const double log_m = shift + std::log(total) - std::log(size);
  if (!finite || !std::isfinite(log_m)) {  // no update will follow; leave u as it is
    Cpu::fill(p, 0);
    return;
  }
  log_u = KlAverage(o)(log_u, log_m);
  const A factor = static_cast<A>(std::exp(shift - log_u) / size);
  const A extra = static_cast<A>(o.additive / size);
  double sum = 0, squares = 0;
  for (int64_t i = 0; i < batch; i++) {
    w[i] = w[i] * factor + extra;
    sum += static_cast<double>(w[i]);
    squares += static_cast<double>(w[i]) * static_cast<double>(w[i]);
  }
  add_statistics(statistics.data<double>(), log_m, sum, squares, batch);
}

}  // namespace

void Cpu::mean_weights(Tensor& p, Tensor& statistics, const Tensor& losses, const Tensor& class_weight,
                       const Tensor& groups) {
  const auto size = static_cast<double>(losses.numel());
  double total = size;
  if (class_weight) {
    total = 0;
    for (int64_t i = 0; i < losses.numel(); i++) {
      const int64_t g = groups.data<int64_t>()[i];
      check(g >= 0 && g < class_weight.numel(), "[risk] expected groups in [0, ", class_weight.numel(), "), got ", g);
      total += static_cast<double>(class_weight.data<float>()[g]);
    }
    // If all groups in the batch have weight 0, all weights are 0, instead of 0/0.
    if (total == 0) total = std::numeric_limits<double>::infinity();
  }
  fill(p, 1 / total);
  add_statistics(statistics.data<double>(), 0, size / total, size / (total * total), losses.numel());
}

void Cpu::kl_weights(Tensor& p, Tensor& state, Tensor& statistics, const Tensor& losses, const KlOptions& o) {
  // λ = ±∞ is the plain mean, bit for bit; α, additive and u are not used.
  if (state.data<double>()[kInvLambda] == 0) return mean_weights(p, statistics, losses, {}, {});
  if (losses.dtype() == DType::kF64) return kl<double>(p, state, statistics, losses, o);
  kl<float>(p, state, statistics, losses, o);
}

}  // namespace fulcrum
