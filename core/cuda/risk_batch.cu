// Risks that depend on one batch only: CVaR, χ², RGD; and group weights, whose state records how hard each group was.
// All arithmetic is f64, as on the CPU.
#include <bit>
#include <type_traits>

#include <fulcrum/core/kernels.h>
#include <fulcrum/core/risk_rules.h>
#include <fulcrum/core/cuda/risk.cuh>

namespace fulcrum {

using namespace cuda;

namespace {

// Maps numbers to unsigned integers of the same order, among which one can be found bit by bit.
template <class T>
using Key = std::conditional_t<std::is_same_v<T, double>, uint64_t, uint32_t>;
template <class T>
constexpr Key<T> kTopBit = Key<T>{1} << (8 * sizeof(T) - 1);

template <class T>
__device__ Key<T> key_of(T value) {
  const auto bits = std::bit_cast<Key<T>>(value);
  return bits & kTopBit<T> ? static_cast<Key<T>>(~bits) : bits | kTopBit<T>;
}
template <class T>
__device__ T of_key(Key<T> key) {
  return std::bit_cast<T>(key & kTopBit<T> ? key & ~kTopBit<T> : static_cast<Key<T>>(~key));
}

// The largest number that more than `above` of the losses reach: loss number `above` (from 0) in descending order.
template <class T>
__device__ T number_from_top(const T* l, int64_t batch, int64_t above) {
  Key<T> key = 0;
  for (Key<T> bit = kTopBit<T>; bit > 0; bit >>= 1) {
    const Key<T> candidate = key | bit;
    if (block_join<SumOf>(batch, [&](int64_t i) { return key_of(l[i]) >= candidate ? 1 : 0; }) > above) key = candidate;
  }
  return of_key<T>(key);
}

template <class T>
__global__ void __launch_bounds__(kRiskThreads)
    cvar_kernel(T* p, double* statistics, const T* l, int64_t batch, double level) {
  if (!all_finite(l, batch)) return write_constant(p, batch, 0);
  const double share = level * static_cast<double>(batch);  // so many samples share all weight
  const auto whole = static_cast<int64_t>(share);
  const T threshold = number_from_top(l, batch, whole < batch - 1 ? whole : batch - 1);
  const int above = block_join<SumOf>(batch, [&](int64_t i) { return l[i] > threshold ? 1 : 0; });
  const int ties = block_join<SumOf>(batch, [&](int64_t i) { return l[i] == threshold ? 1 : 0; });
  const double left = share - static_cast<double>(above);
  const double rest = (left > 0 ? left : 0) / (share * static_cast<double>(ties));
  write_weights(p, batch, statistics, 0, [&](int64_t i) {
    return l[i] > threshold ? 1 / share : l[i] == threshold ? rest : 0;
  });
}

// The losses minus the largest of them: d ≤ 0.
template <class T>
struct Below {
  const T* l;
  int64_t batch;
  double top;

  __device__ double operator[](int64_t i) const { return static_cast<double>(l[i]) - top; }
  __device__ double above(int64_t i, double eta) const {
    const double r = (*this)[i] - eta;
    return r > 0 ? r : 0;
  }
};

// ½·mean((Bp−1)²) = ½·(B Σr²/(Σr)² − 1) of p = r/Σr, r = relu(d − eta); it grows with eta.
template <class T>
__device__ double divergence(const Below<T>& d, double eta) {
  const double sum = block_join<SumOf>(d.batch, [&](int64_t i) { return d.above(i, eta); });
  const double squares = block_join<SumOf>(d.batch, [&](int64_t i) { return d.above(i, eta) * d.above(i, eta); });
  return 0.5 * (static_cast<double>(d.batch) * squares / (sum * sum) - 1);
}

// d must have its maximum 0 and smaller values.
template <class T>
__device__ double solve_eta(const Below<T>& d, double rho) {
  const auto size = static_cast<double>(d.batch);
  const double least = -block_join<MaxOf>(d.batch, [&](int64_t i) { return -d[i]; });
  const double mean = block_join<SumOf>(d.batch, [&](int64_t i) { return d[i] / size; });
  const double variance = block_join<SumOf>(d.batch, [&](int64_t i) { return (d[i] - mean) * (d[i] - mean) / size; });
  return solve_chi2_eta(least, mean, variance, rho, [&](double eta) { return divergence(d, eta); });
}

template <class T>
__global__ void __launch_bounds__(kRiskThreads)
    chi2_kernel(T* p, double* statistics, const T* l, int64_t batch, double rho) {
  if (!all_finite(l, batch)) return write_constant(p, batch, 0);
  const T top = block_join<MaxOf>(batch, [&](int64_t i) { return l[i]; });
  const Below<T> d{l, batch, static_cast<double>(top)};
  const auto ties = static_cast<double>(block_join<SumOf>(batch, [&](int64_t i) { return l[i] == top ? 1 : 0; }));
  // Even all weight on the maximum is inside the ball, e.g. for B ≤ 1 + 2ρ or equal losses.
  if (rho >= 0.5 * (static_cast<double>(batch) / ties - 1))
    return write_weights(p, batch, statistics, 0, [&](int64_t i) { return l[i] == top ? 1 / ties : 0; });
  const double eta = solve_eta(d, rho);
  const double sum = block_join<SumOf>(batch, [&](int64_t i) { return d.above(i, eta); });
  write_weights(p, batch, statistics, 0, [&](int64_t i) { return d.above(i, eta) / sum; });
}

template <class T>
__global__ void __launch_bounds__(kRiskThreads)
    rgd_kernel(T* p, double* statistics, const T* losses, int64_t batch, double tau) {
  if (!all_finite(losses, batch)) return write_constant(p, batch, 0);
  write_weights(p, batch, statistics, 0, [&](int64_t i) {
    const auto l = static_cast<double>(losses[i]);
    return std::exp((l < tau ? l : tau) / (tau + 1)) / static_cast<double>(batch);
  });
}

// `count`, f64 [number], is scratch memory.
template <class T>
__global__ void __launch_bounds__(kRiskThreads)
    group_kernel(T* p, double* log_q, double* count, int64_t number, double* statistics, const T* l,
                 const int64_t* groups, const double* shift, int64_t batch, double eta) {
  if (!all_finite(l, batch)) return write_constant(p, batch, 0);
  if (block_join<SumOf>(batch, [&](int64_t i) { return groups[i] < 0 || groups[i] >= number ? 1 : 0; }) > 0)
    return write_constant(p, batch, NAN);
  // A warp for each group.
  for (int64_t k = threadIdx.x / kWarp; k < number; k += blockDim.x / kWarp) {
    double members = 0, total = 0;
    for (int64_t i = threadIdx.x % kWarp; i < batch; i += kWarp) {
      if (groups[i] != k) continue;
      members += 1;
      total += static_cast<double>(l[i]);
    }
    members = warp_reduce<SumOf>(members);
    total = warp_reduce<SumOf>(total);
    if (threadIdx.x % kWarp != 0) continue;
    count[k] = members;
    if (shift) log_q[k] += shift[k];
    if (members > 0) log_q[k] += eta * total / members;
  }
  __syncthreads();
  const double top = block_join<MaxOf>(number, [&](int64_t k) { return log_q[k]; });
  const double log_mass =
      top + std::log(block_join<SumOf>(number, [&](int64_t k) { return std::exp(log_q[k] - top); }));
  for (int64_t k = threadIdx.x; k < number; k += blockDim.x) log_q[k] -= log_mass;
  __syncthreads();
  write_weights(p, batch, statistics, 0, [&](int64_t i) { return std::exp(log_q[groups[i]]) / count[groups[i]]; });
}

}  // namespace

void Cuda::cvar_weights(Tensor& p, Tensor& statistics, const Tensor& losses, double level) {
  const int64_t batch = losses.numel();
  visit_master(p.dtype(), [&]<class T>() {
    launch(cvar_kernel<T>, one_block(batch), p.data<T>(), statistics.data<double>(), losses.data<T>(), batch, level);
  });
}

void Cuda::chi2_weights(Tensor& p, Tensor& statistics, const Tensor& losses, double rho) {
  const int64_t batch = losses.numel();
  visit_master(p.dtype(), [&]<class T>() {
    launch(chi2_kernel<T>, one_block(batch), p.data<T>(), statistics.data<double>(), losses.data<T>(), batch, rho);
  });
}

void Cuda::rgd_weights(Tensor& p, Tensor& statistics, const Tensor& losses, double tau) {
  const int64_t batch = losses.numel();
  visit_master(p.dtype(), [&]<class T>() {
    launch(rgd_kernel<T>, one_block(batch), p.data<T>(), statistics.data<double>(), losses.data<T>(), batch, tau);
  });
}

// A group out of range makes every weight NaN, and so the gradients: begin_update then sets the flag that ends the
// training.
void Cuda::group_weights(Tensor& p, Tensor& log_q, Tensor& statistics, const Tensor& losses, const Tensor& groups,
                         const Tensor& shift, double eta) {
  const int64_t batch = losses.numel(), number = log_q.numel();
  Tensor count = empty({number}, {DType::kF64, losses.device()});
  const Grid grid = one_block(std::max(batch, number * kWarp));
  visit_master(p.dtype(), [&]<class T>() {
    launch(group_kernel<T>, grid, p.data<T>(), log_q.data<double>(), count.data<double>(), number,
           statistics.data<double>(), losses.data<T>(), groups.data<int64_t>(), shift ? shift.data<double>() : nullptr,
           batch, eta);
  });
}

}  // namespace fulcrum
