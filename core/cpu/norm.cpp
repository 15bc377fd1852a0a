// Batch normalisation, fused with the residual sum and the ReLU that follow it. These kernels are
// memory-bound, so what counts is how often a tensor is read: x twice, for the statistics and the result.
#include <algorithm>
#include <cmath>
#include <type_traits>
#include <vector>

#include <fulcrum/core/cpu/lines.h>
#include <fulcrum/core/cpu/parallel.h>
#include <fulcrum/core/cpu/words.h>
#include <fulcrum/core/kernels.h>
#include <fulcrum/core/norm_rules.h>

namespace fulcrum {

namespace {

using cpu::along_line;
using cpu::ChannelSums;
using cpu::Lines;

template <class F>
void visit_bool(bool value, F&& f) {
  if (value) {
    f(std::true_type());
  } else {
    f(std::false_type());
  }
}

// ---- statistics ---------------------------------------------------------------------------------

/// The mean over up to 64 rows, evenly spaced in x.
template <class T>
std::vector<double> sampled_mean(const Lines<T>& lines, const T* x) {
  const int64_t samples = std::min<int64_t>(lines.rows, 64);
  std::vector<double> mean(static_cast<size_t>(lines.channels));
  for (int64_t i = 0; i < samples; i++) {
    const T* row = x + i * lines.rows / samples * lines.channels;
    for (size_t c = 0; c < mean.size(); c++) mean[c] += static_cast<double>(row[c]) / static_cast<double>(samples);
  }
  return mean;
}

struct Moments {
  std::vector<double> mean, variance;  // biased
};

/// Computes mean and variance in one pass, from the sums of x − s and (x − s)² with s close to the mean. This
/// avoids the cancellation that ruins E x² − (E x)² when the mean is large. (The mean of k of n values is at
/// worst √(n/k) standard deviations from the mean of all.)
template <class T>
Moments moments(const Lines<T>& lines, const T* x) {
  using A = Accumulate<T>;
  const std::vector<double> sample = sampled_mean(lines, x);
  const auto shift_of = [&](int64_t c) { return static_cast<A>(sample[static_cast<size_t>(c)]); };
  const std::vector<A> shift = along_line(lines, shift_of);
  const ChannelSums sums = cpu::sum_rows(
      lines, [x, s = shift.data(), words = lines.words]<class W, int k>(int64_t base, int64_t j, A& u, A& v) {
        const A d = W::template get<k>(x + base, j) - s[k * words + j];
        u += d;
        v += d * d;
      });
  Moments m{sums.first, sums.second};
  const auto rows = static_cast<double>(lines.rows);
  for (size_t c = 0; c < m.mean.size(); c++) {
    const double d = sums.first[c] / rows;
    m.mean[c] = static_cast<double>(shift_of(static_cast<int64_t>(c))) + d;
    m.variance[c] = not_negative(sums.second[c] / rows - d * d);
  }
  return m;
}

// ---- normalisation ------------------------------------------------------------------------------

// The work on a line. It copies its members to local variables: otherwise the compiler must assume
// that a store of two bf16 may change them, and does not vectorise the loop.
template <class T, bool kRelu, bool kResidual>
struct NormaliseLine {
  using A = Accumulate<T>;
  T* y;
  const T *x, *residual;
  const A *mean, *scale, *shift;
  int64_t words;

  template <class W>
  void operator()(int64_t base, int64_t first, int64_t last) const {
    T* to = y + base;
    const T *from = x + base, *add = residual + base;
    const A *m = mean, *a = scale, *b = shift;
    const int64_t second = words;
#pragma omp simd
    for (int64_t j = first; j < last; j++)
      W::put(to, j, [&]<int k>() {
        const int64_t at = k * second + j;
        A v = normalised(W::template get<k>(from, j), m[at], a[at], b[at]);
        if constexpr (kResidual) v += W::template get<k>(add, j);
        if constexpr (kRelu) v = v < A(0) ? A(0) : v;
        return v;
      });
  }
};

/// y = relu?((x − mean)·scale + shift + residual?). Writes scale and shift to affine [2, C], if defined.
template <class T>
void normalise(Tensor& y, Tensor affine, const Tensor& x, const Tensor& residual, const Lines<T>& lines,
               const Moments& m, const Tensor& weight, const Tensor& bias, const BatchNormOptions& o) {
  using A = Accumulate<T>;
  const A* pw = weight ? weight.data<A>() : nullptr;
  const A* pb = bias ? bias.data<A>() : nullptr;
  std::vector<ChannelAffine<A>> channels;
  for (int64_t c = 0; c < lines.channels; c++) {
    const auto at = static_cast<size_t>(c);
    channels.emplace_back(m.mean[at], m.variance[at], o.eps, pw, pb, c);
    if (!affine) continue;
    affine.data<A>()[c] = static_cast<A>(channels.back().scale);
    affine.data<A>()[lines.channels + c] = static_cast<A>(channels.back().shift);
  }
  const auto channel = [&](int64_t c) { return channels[static_cast<size_t>(c)]; };
  const std::vector<A> mean = along_line(lines, [&](int64_t c) { return m.mean[static_cast<size_t>(c)]; });
  const std::vector<A> scale = along_line(lines, [&](int64_t c) { return channel(c).scale; });
  const std::vector<A> shift = along_line(lines, [&](int64_t c) { return channel(c).shift; });
  T* py = y.data<T>();
  const T* px = x.data<T>();
  const T* pr = residual ? residual.data<T>() : px;
  const A *mu = mean.data(), *a = scale.data(), *b = shift.data();
  visit_bool(o.relu, [&](auto relu) {
    visit_bool(residual.defined(), [&](auto has_residual) {
      cpu::for_lines(lines, NormaliseLine<T, relu, has_residual>{py, px, pr, mu, a, b, lines.words});
    });
  });
}

template <class A>
std::vector<double> to_doubles(const Tensor& t) {
  const A* p = t.data<A>();
  return {p, p + t.numel()};
}

template <class A>
A* data_or_null(Tensor& t) {
  return t ? t.data<A>() : nullptr;
}

}  // namespace

void Cpu::batch_norm_train(Tensor& y, Tensor& mean, Tensor& rstd, Tensor& affine, Tensor& running_mean,
                           Tensor& running_var, const Tensor& x, const Tensor& residual, const Tensor& weight,
                           const Tensor& bias, const BatchNormOptions& o) {
  visit_floating(x.dtype(), "batch_norm", [&]<class T>() {
    using A = Accumulate<T>;
    const Lines<T> lines(x);
    const Moments m = moments(lines, x.data<T>());
    const auto rows = static_cast<double>(lines.rows);
    for (int64_t c = 0; c < lines.channels; c++) {
      const double channel_mean = m.mean[static_cast<size_t>(c)];
      const double variance = m.variance[static_cast<size_t>(c)];
      mean.data<A>()[c] = static_cast<A>(channel_mean);
      rstd.data<A>()[c] = static_cast<A>(1 / std::sqrt(variance + o.eps));
      track(data_or_null<A>(running_mean), c, channel_mean, o.momentum);
      track(data_or_null<A>(running_var), c, unbiased(variance, rows), o.momentum);
    }
    normalise<T>(y, affine, x, residual, lines, m, weight, bias, o);
  });
}

void Cpu::batch_norm_eval(Tensor& y, const Tensor& x, const Tensor& residual, const Tensor& running_mean,
                          const Tensor& running_var, const Tensor& weight, const Tensor& bias,
                          const BatchNormOptions& o) {
  visit_floating(x.dtype(), "batch_norm", [&]<class T>() {
    using A = Accumulate<T>;
    const Moments m{to_doubles<A>(running_mean), to_doubles<A>(running_var)};
    normalise<T>(y, {}, x, residual, Lines<T>(x), m, weight, bias, o);
  });
}

void Cpu::batch_norm_sums(Tensor& sums, const Tensor& x) {
  visit_floating(x.dtype(), "batch_norm", [&]<class T>() {
    const Lines<T> lines(x);
    const Moments m = moments(lines, x.data<T>());
    const auto rows = static_cast<double>(lines.rows);
    double* to = sums.data<double>();
    for (size_t c = 0; c < m.mean.size(); c++) {
      to[c] = rows * m.mean[c];
      to[m.mean.size() + c] = rows * (m.variance[c] + m.mean[c] * m.mean[c]);
    }
  });
}

void Cpu::batch_norm_moments(Tensor& mean, Tensor& var, Tensor& rstd, Tensor& running_mean, Tensor& running_var,
                             const Tensor& sums, int64_t rows, const BatchNormOptions& o) {
  const auto run = [&]<class A>() {
    const int64_t channels = mean.numel();
    const auto n = static_cast<double>(rows);
    for (int64_t c = 0; c < channels; c++) {
      const BatchMoments m(sums.data<double>()[c], sums.data<double>()[channels + c], n);
      mean.data<A>()[c] = static_cast<A>(m.mean);
      var.data<A>()[c] = static_cast<A>(m.variance);
      rstd.data<A>()[c] = static_cast<A>(1 / std::sqrt(m.variance + o.eps));
      track(data_or_null<A>(running_mean), c, m.mean, o.momentum);
      track(data_or_null<A>(running_var), c, unbiased(m.variance, n), o.momentum);
    }
  };
  mean.dtype() == DType::kF64 ? run.operator()<double>() : run.operator()<float>();
}

}  // namespace fulcrum
