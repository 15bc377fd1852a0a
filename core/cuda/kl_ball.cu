// The KL ball: finds the λ at which the weights of a window of recent losses are as unequal as requested.
#include <fulcrum/core/kernels.h>
#include <fulcrum/core/kl_ball_rules.h>
#include <fulcrum/core/cuda/risk.cuh>

namespace fulcrum {

using namespace cuda;

namespace {

constexpr unsigned kBallThreads = 512;

// The losses of the window minus the extreme one, times `sign`: none is above 0.
struct Shifted {
  const double* window;
  int64_t n;
  double extreme, sign;

  __device__ double operator[](int64_t i) const { return sign * (window[i] - extreme); }
  /// All threads must call it; all get the same numbers, and so take the same branches.
  __device__ Cumulant cumulant(double t) const {
    double total = 0, first = 0, second = 0;
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x) {
      const double d = (*this)[i], e = std::exp(t * d);
      total += e;
      first += e * d;
    }
    total = block_reduce<SumOf>(total);
    const double mean = block_reduce<SumOf>(first) / total;
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x) {
      const double d = (*this)[i];
      second += std::exp(t * d) * (d - mean) * (d - mean);
    }
    return {std::log(total / static_cast<double>(n)), mean, block_reduce<SumOf>(second) / total};
  }
};

template <class T>
__global__ void __launch_bounds__(kBallThreads)
    ball_kernel(T* p, double* state, double* window, int64_t capacity, double* statistics, const T* l, int64_t batch,
                KlBallOptions o) {
  if (!all_finite(l, batch)) return write_constant(p, batch, 0);
  const auto next = static_cast<int64_t>(state[kNext]), filled = static_cast<int64_t>(state[kFilled]);
  const auto steps = static_cast<int64_t>(state[kBallSteps]);
  double inv = state[kInvLambda];
  for (int64_t i = threadIdx.x; i < batch; i += blockDim.x) window[(next + i) % capacity] = static_cast<double>(l[i]);
  __syncthreads();
  const int64_t n = filled + batch < capacity ? filled + batch : capacity;
  const double most = block_join<MaxOf>(n, [&](int64_t i) { return window[i]; });
  const double least = -block_join<MaxOf>(n, [&](int64_t i) { return -window[i]; });
  const double extreme = o.positive ? most : least, spread = most - least, sign = o.positive ? 1 : -1;
  const Shifted d{window, n, extreme, sign};
  // Until the window is full, λ is solved for in every step.
  if (steps % o.every == 0 || n < capacity)
    inv = spread > 0 ? sign * solve_kl_ball([&](double t) { return d.cumulant(t); }, spread, o) : 0;
  const double rest = d.cumulant(std::abs(inv)).value, log_u = extreme * inv + rest;
  if (threadIdx.x == 0) {
    state[kNext] = static_cast<double>((next + batch) % capacity);
    state[kFilled] = static_cast<double>(n);
    state[kBallSteps] = static_cast<double>(steps + 1);
    state[kInvLambda] = inv;
    state[kLogU] = log_u;
  }
  const auto size = static_cast<double>(batch);
  // The batch is part of the window: no exponent is above 0.
  const auto exponent = [&](int64_t i) { return (static_cast<double>(l[i]) - extreme) * inv; };
  const double total = block_join<SumOf>(batch, [&](int64_t i) { return std::exp(exponent(i)); });
  write_weights(p, batch, statistics, total > 0 ? extreme * inv + std::log(total / size) : log_u,
                [&](int64_t i) { return std::exp(exponent(i) - rest) / size; });
}

}  // namespace

void Cuda::kl_ball_weights(Tensor& p, Tensor& state, Tensor& window, Tensor& statistics, const Tensor& losses,
                           const KlBallOptions& o) {
  const int64_t batch = losses.numel();
  const Grid grid{1, std::min(one_block(window.numel()).threads, kBallThreads)};
  visit_master(p.dtype(), [&]<class T>() {
    launch(ball_kernel<T>, grid, p.data<T>(), state.data<double>(), window.data<double>(), window.numel(),
           statistics.data<double>(), losses.data<T>(), batch, o);
  });
}

}  // namespace fulcrum
