// Weights of the samples of a batch from their losses: the mean, and the KL risk of ABSGD.
#include <fulcrum/core/kernels.h>
#include <fulcrum/core/cuda/risk.cuh>

namespace fulcrum {

using namespace cuda;

namespace {

template <class T>
__device__ void write_mean(T* p, double* statistics, int64_t batch, double total) {
  const auto size = static_cast<double>(batch);
  write_constant(p, batch, 1 / total);
  if (threadIdx.x == 0) add_statistics(statistics, 0, size / total, size / (total * total), batch);
}

template <class T>
__global__ void __launch_bounds__(kRiskThreads)
    mean_kernel(T* p, double* statistics, int64_t batch, const float* class_weight, int64_t classes,
                const int64_t* groups) {
  double total = static_cast<double>(batch);
  if (class_weight) {
    total = block_join<SumOf>(batch, [&](int64_t i) {
      const bool valid = groups[i] >= 0 && groups[i] < classes;
      return valid ? static_cast<double>(class_weight[groups[i]]) : static_cast<double>(NAN);
    });
    // If no class in the batch has a weight, all weights are 0, not 0/0.
    if (total == 0) total = std::numeric_limits<double>::infinity();
    if (std::isnan(total)) return write_constant(p, batch, total);
  }
  write_mean(p, statistics, batch, total);
}

// Formulas: docs/method.md. T is f32, or f64 for f64 losses.
template <class T>
__global__ void __launch_bounds__(kRiskThreads)
    kl_kernel(T* p, double* state, double* statistics, const T* l, int64_t batch, KlAverage average, double additive) {
  const double inv = state[kInvLambda];
  // λ = ±∞ is plain SGD, bit for bit: α, additive and u are not used.
  if (inv == 0) return write_mean(p, statistics, batch, static_cast<double>(batch));
  if (!all_finite(l, batch)) return write_constant(p, batch, 0);

  const T sign = inv > 0 ? T(1) : T(-1);  // extreme has the largest l·inv: no exponent is above 0
  const T extreme = sign * block_join<MaxOf>(batch, [&](int64_t i) { return sign * l[i]; });
  double total = 0;
  for (int64_t i = threadIdx.x; i < batch; i += blockDim.x) {
    p[i] = std::exp((l[i] - extreme) * static_cast<T>(inv));
    total += static_cast<double>(p[i]);
  }
  total = block_reduce<SumOf>(total);

  // One thread computes the logarithms in f64, for which a device has few units.
  __shared__ double log_m, factor;
  const auto size = static_cast<double>(batch);
  if (threadIdx.x == 0) {
    const double shift = static_cast<double>(extreme) * inv;
    log_m = shift + std::log(total) - std::log(size);
    if (std::isfinite(log_m)) {
      state[kLogU] = average(state[kLogU], log_m);
      factor = std::exp(shift - state[kLogU]) / size;
    }
  }
  __syncthreads();
  if (!std::isfinite(log_m)) return write_constant(p, batch, 0);
  const T scale = static_cast<T>(factor), extra = static_cast<T>(additive / size);
  write_weights(p, batch, statistics, log_m, [&](int64_t i) { return static_cast<double>(p[i] * scale + extra); });
}

}  // namespace

// A group out of range makes every weight NaN, and so the gradients: begin_update then sets the flag that ends the
// training.
void Cuda::mean_weights(Tensor& p, Tensor& statistics, const Tensor& losses, const Tensor& class_weight,
                        const Tensor& groups) {
  const int64_t batch = losses.numel();
  visit_master(p.dtype(), [&]<class T>() {
    launch(mean_kernel<T>, one_block(batch), p.data<T>(), statistics.data<double>(), batch,
           class_weight ? class_weight.data<float>() : nullptr, class_weight ? class_weight.numel() : 0,
           class_weight ? groups.data<int64_t>() : nullptr);
  });
}

void Cuda::kl_weights(Tensor& p, Tensor& state, Tensor& statistics, const Tensor& losses, const KlOptions& o) {
  const int64_t batch = losses.numel();
  visit_master(p.dtype(), [&]<class T>() {
    launch(kl_kernel<T>, one_block(batch), p.data<T>(), state.data<double>(), statistics.data<double>(),
           losses.data<T>(), batch, KlAverage(o), o.additive);
  });
}

}  // namespace fulcrum
