// Batch normalisation, fused with the residual sum and the ReLU behind it. These kernels wait for
// memory, so what counts is how often a tensor is read: the forward pass reads x twice (statistics,
// result), the gradient reads dy, x and y twice.
#include <bit>
#include <cmath>
#include <numeric>
#include <type_traits>
#include <utility>
#include <vector>

#include <fulcrum/core/cpu/parallel.h>
#include <fulcrum/core/cpu/store.h>
#include <fulcrum/core/kernels.h>

namespace fulcrum {

namespace {

/// x [rows, channels] cut into lines of whole rows, long enough for vector loops at any number of
/// channels: element j of a line belongs to channel j % channels. The last line may be shorter.
struct Lines {
  int64_t channels, rows, numel, length, count;

  explicit Lines(const Tensor& x) : channels(x.size(-1)), numel(x.numel()) {
    constexpr int64_t kShortest = 256, kVector = 16;
    rows = numel / channels;
    int64_t rows_per_line = 1;
    if (channels < kShortest) {
      // A multiple of the vector's size, too.
      const int64_t step = kVector / std::gcd(kVector, channels);
      rows_per_line = (kShortest + channels * step - 1) / (channels * step) * step;
    }
    length = rows_per_line * channels;
    count = (numel + length - 1) / length;
  }

  int64_t size(int64_t line) const { return std::min(length, numel - line * length); }
  int64_t grain() const { return std::max<int64_t>(1, cpu::kGrain / length); }
};

/// Values per channel, repeated for every element of a line.
template <class A, class Value>
std::vector<A> along_line(const Lines& lines, Value value) {
  std::vector<A> v(static_cast<size_t>(lines.length));
  for (int64_t c = 0; c < lines.channels; c++) v[static_cast<size_t>(c)] = static_cast<A>(value(c));
  for (size_t j = static_cast<size_t>(lines.channels); j < v.size(); j++)
    v[j] = v[j - static_cast<size_t>(lines.channels)];
  return v;
}

template <class F>
void visit_bool(bool value, F&& f) {
  if (value) {
    f(std::true_type());
  } else {
    f(std::false_type());
  }
}

// ---- sums ------------------------------------------------------------------------------------------

struct ChannelSums {
  std::vector<double> first, second;
};

/// Adds term(i, j, u, v) of some lines, the first at element `begin`, to a[j] and b[j]. Several lines
/// at once, as loading and storing the sums costs more than summing.
template <int... kRow, class A, class Term>
void add_lines(std::integer_sequence<int, kRow...>, A* a, A* b, int64_t begin, int64_t n,
               int64_t length, Term term) {
#pragma omp simd
  for (int64_t j = 0; j < n; j++) {
    A u = 0, v = 0;
    (term(begin + kRow * length + j, j, u, v), ...);
    a[j] += u;
    b[j] += v;
  }
}

/// Sums two values per element over the rows: term(i, j, u, v) adds those of element i, which is
/// element j of its line, to u and v. A few lines are summed in A, all else in double. The result
/// depends on the number of threads, never on their timing.
template <class A, class Term>
ChannelSums sum_rows(const Lines& lines, Term term) {
  constexpr int kRows = 4;
  using Several = std::make_integer_sequence<int, kRows>;
  using One = std::make_integer_sequence<int, 1>;
  constexpr int64_t kLinesInA = 8 * kRows;
  const int parts = static_cast<int>(
      std::clamp<int64_t>(lines.count / lines.grain(), 1, omp_get_max_threads()));
  const auto length = static_cast<size_t>(lines.length);
  std::vector<double> totals(static_cast<size_t>(parts) * 2 * length, 0.0);
#pragma omp parallel for schedule(static, 1) num_threads(parts)
  for (int part = 0; part < parts; part++) {
    const cpu::Range range = cpu::share(lines.count, part, parts);
    double* total = totals.data() + static_cast<size_t>(part) * 2 * length;
    std::vector<A> sums(2 * length);
    A *a = sums.data(), *b = a + length;
    for (int64_t line = range.begin; line < range.end;) {
      std::fill(sums.begin(), sums.end(), A(0));
      const int64_t end = std::min(line + kLinesInA, range.end);
      const int64_t full = lines.size(end - 1) == lines.length ? end : end - 1;
      for (; line + kRows <= full; line += kRows)
        add_lines(Several(), a, b, line * lines.length, lines.length, lines.length, term);
      for (; line < end; line++)
        add_lines(One(), a, b, line * lines.length, lines.size(line), lines.length, term);
      for (size_t j = 0; j < 2 * length; j++) total[j] += static_cast<double>(sums[j]);
    }
  }
  const auto channels = static_cast<size_t>(lines.channels);
  ChannelSums result{std::vector<double>(channels), std::vector<double>(channels)};
  for (size_t part = 0; part < static_cast<size_t>(parts); part++)
    for (size_t j = 0; j < length; j++) {
      result.first[j % channels] += totals[part * 2 * length + j];
      result.second[j % channels] += totals[(part * 2 + 1) * length + j];
    }
  return result;
}

/// The mean of a sample of rows from all over x.
template <class T>
std::vector<Accumulate<T>> sampled_mean(const Lines& lines, const T* x) {
  const int64_t samples = std::min<int64_t>(lines.rows, 64);
  std::vector<double> sum(static_cast<size_t>(lines.channels));
  for (int64_t i = 0; i < samples; i++) {
    const T* row = x + i * lines.rows / samples * lines.channels;
    for (int64_t c = 0; c < lines.channels; c++)
      sum[static_cast<size_t>(c)] += static_cast<double>(row[c]);
  }
  return along_line<Accumulate<T>>(lines, [&](int64_t c) {
    return sum[static_cast<size_t>(c)] / static_cast<double>(samples);
  });
}

struct Moments {
  std::vector<double> mean, variance;  // biased
};

/// One pass. Sums of x − s and (x − s)², with s close to the mean: the cancellation that ruins
/// E x² − (E x)² when the mean is large has nothing to bite on. (The mean of k of n values is within
/// √(n/k) standard deviations of the mean of all, at the very worst.)
template <class T>
Moments moments(const Lines& lines, const T* x) {
  using A = Accumulate<T>;
  const std::vector<A> shift = sampled_mean(lines, x);
  const ChannelSums sums =
      sum_rows<A>(lines, [x, s = shift.data()](int64_t i, int64_t j, A& u, A& v) {
        const A d = static_cast<A>(x[i]) - s[j];
        u += d;
        v += d * d;
      });
  Moments m{sums.first, sums.second};
  const auto rows = static_cast<double>(lines.rows);
  for (size_t c = 0; c < m.mean.size(); c++) {
    const double d = sums.first[c] / rows;
    const double variance = sums.second[c] / rows - d * d;
    m.mean[c] = static_cast<double>(shift[c]) + d;
    m.variance[c] = variance < 0 ? 0 : variance;  // a NaN stays
  }
  return m;
}

// ---- normalisation ---------------------------------------------------------------------------------

/// y = relu?((x − mean)·scale + shift + residual?).
template <class T>
void normalise(Tensor& y, const Tensor& x, const Tensor& residual, const Lines& lines,
               const Moments& m, const Tensor& weight, const Tensor& bias,
               const BatchNormOptions& o) {
  using A = Accumulate<T>;
  const A* pw = weight ? weight.data<A>() : nullptr;
  const A* pb = bias ? bias.data<A>() : nullptr;
  const auto mean_of = [&](int64_t c) { return m.mean[static_cast<size_t>(c)]; };
  const auto scale_of = [&](int64_t c) {
    return (pw ? static_cast<double>(pw[c]) : 1.0) /
           std::sqrt(m.variance[static_cast<size_t>(c)] + o.eps);
  };
  // The mean is subtracted first, and what its rounding to A lost is in the shift: so a channel far
  // from zero keeps all its digits.
  const std::vector<A> mean = along_line<A>(lines, mean_of);
  const std::vector<A> scale = along_line<A>(lines, scale_of);
  const std::vector<A> shift = along_line<A>(lines, [&](int64_t c) {
    const double lost = mean_of(c) - static_cast<double>(static_cast<A>(mean_of(c)));
    return (pb ? static_cast<double>(pb[c]) : 0.0) - lost * scale_of(c);
  });
  T* py = y.data<T>();
  const T* px = x.data<T>();
  const T* pr = residual ? residual.data<T>() : px;
  const A *mu = mean.data(), *a = scale.data(), *b = shift.data();
  visit_bool(o.relu, [&](auto relu) {
    visit_bool(residual.defined(), [&](auto has_residual) {
      cpu::parallel_for(lines.count, lines.grain(), [&](int64_t first, int64_t last) {
        for (int64_t line = first; line < last; line++) {
          const int64_t begin = line * lines.length, n = lines.size(line);
          T* to = py + begin;
          const T *from = px + begin, *add = pr + begin;
#pragma omp simd
          for (int64_t j = 0; j < n; j++) {
            A v = (static_cast<A>(from[j]) - mu[j]) * a[j] + b[j];
            if constexpr (has_residual) v += static_cast<A>(add[j]);
            if constexpr (relu) v = v < A(0) ? A(0) : v;
            cpu::store(to[j], v);
          }
        }
      });
    });
  });
}

template <class A>
std::vector<double> to_doubles(const Tensor& t) {
  const A* p = t.data<A>();
  return {p, p + t.numel()};
}

}  // namespace

void Cpu::batch_norm_train(Tensor& y, Tensor& mean, Tensor& rstd, Tensor& running_mean,
                           Tensor& running_var, const Tensor& x, const Tensor& residual,
                           const Tensor& weight, const Tensor& bias, const BatchNormOptions& o) {
  visit_floating(x.dtype(), "batch_norm", [&]<class T>() {
    using A = Accumulate<T>;
    const Lines lines(x);
    const Moments m = moments(lines, x.data<T>());
    const auto rows = static_cast<double>(lines.rows);
    const double unbiased = lines.rows > 1 ? rows / (rows - 1) : 1;
    const auto track = [&](Tensor& running, int64_t c, double value) {
      if (!running) return;
      A& r = running.data<A>()[c];
      r = static_cast<A>((1 - o.momentum) * static_cast<double>(r) + o.momentum * value);
    };
    for (int64_t c = 0; c < lines.channels; c++) {
      const double channel_mean = m.mean[static_cast<size_t>(c)];
      const double variance = m.variance[static_cast<size_t>(c)];
      mean.data<A>()[c] = static_cast<A>(channel_mean);
      rstd.data<A>()[c] = static_cast<A>(1 / std::sqrt(variance + o.eps));
      track(running_mean, c, channel_mean);
      track(running_var, c, variance * unbiased);
    }
    normalise<T>(y, x, residual, lines, m, weight, bias, o);
  });
}

void Cpu::batch_norm_eval(Tensor& y, const Tensor& x, const Tensor& residual,
                          const Tensor& running_mean, const Tensor& running_var,
                          const Tensor& weight, const Tensor& bias, const BatchNormOptions& o) {
  visit_floating(x.dtype(), "batch_norm", [&]<class T>() {
    using A = Accumulate<T>;
    const Moments m{to_doubles<A>(running_mean), to_doubles<A>(running_var)};
    normalise<T>(y, x, residual, Lines(x), m, weight, bias, o);
  });
}

// ---- gradient --------------------------------------------------------------------------------------

namespace {

/// dz is dy behind the gradient of the ReLU: dy where y > 0, else 0. Written as a mask, for GCC makes
/// branches of the obvious expression, and then no vector loop.
template <bool kRelu, class A, class T>
A masked(const T* dy, const T* y, int64_t j) {
  using Bits = std::conditional_t<std::is_same_v<A, double>, uint64_t, uint32_t>;
  const A d = static_cast<A>(dy[j]);
  if constexpr (!kRelu) return d;
  const Bits positive = Bits{static_cast<A>(y[j]) > A(0)};
  return std::bit_cast<A>(std::bit_cast<Bits>(d) & (Bits{0} - positive));
}

/// Σ dz and Σ dz·(x − mean); kWrite: writes dz, too.
template <bool kRelu, bool kWrite, class T, class A = Accumulate<T>>
ChannelSums gradient_sums(const Lines& lines, T* dz, const T* dy, const T* x, const T* y,
                          const A* mean) {
  return sum_rows<A>(lines, [=](int64_t i, int64_t j, A& u, A& v) {
    const A d = masked<kRelu, A>(dy, y, i);
    if constexpr (kWrite) cpu::store(dz[i], d);
    u += d;
    v += d * (static_cast<A>(x[i]) - mean[j]);
  });
}

/// dx = dz·scale + (x − mean)·slope + offset, per channel.
template <class A>
struct GradientLine {
  std::vector<A> mean, scale, slope, offset;
};

template <bool kRelu, class T, class A = Accumulate<T>>
void write_gradient(const Lines& lines, T* dx, const T* dy, const T* x, const T* y,
                    const GradientLine<A>& g) {
  const A *mean = g.mean.data(), *scale = g.scale.data();
  const A *slope = g.slope.data(), *offset = g.offset.data();
  cpu::parallel_for(lines.count, lines.grain(), [=, &lines](int64_t first, int64_t last) {
    for (int64_t line = first; line < last; line++) {
      const int64_t begin = line * lines.length, n = lines.size(line);
      const T *pdy = dy + begin, *px = x + begin, *py = kRelu ? y + begin : nullptr;
      T* to = dx + begin;
#pragma omp simd
      for (int64_t j = 0; j < n; j++)
        cpu::store(to[j], masked<kRelu, A>(pdy, py, j) * scale[j] +
                              ((static_cast<A>(px[j]) - mean[j]) * slope[j] + offset[j]));
    }
  });
}

template <class T>
void gradient(Tensor& dx, Tensor& dresidual, Tensor& dweight, Tensor& dbias, const Tensor& dy,
              const Tensor& x, const Tensor& y, const Tensor& mean, const Tensor& rstd,
              const Tensor& weight, const BatchNormOptions& o) {
  using A = Accumulate<T>;
  const Lines lines(x);
  const A *mu = mean.data<A>(), *rs = rstd.data<A>(), *w = weight ? weight.data<A>() : nullptr;
  const T *px = x.data<T>(), *pdy = dy.data<T>(), *py = o.relu ? y.data<T>() : nullptr;
  T* dz = dresidual ? dresidual.data<T>() : nullptr;

  GradientLine<A> g;
  g.mean = along_line<A>(lines, [&](int64_t c) { return mu[c]; });
  ChannelSums sums;
  visit_bool(o.relu, [&](auto relu) {
    visit_bool(dz != nullptr, [&](auto write) {
      sums = gradient_sums<relu, write>(lines, dz, pdy, px, py, g.mean.data());
    });
  });
  const auto dbias_of = [&](int64_t c) { return sums.first[static_cast<size_t>(c)]; };
  const auto dweight_of = [&](int64_t c) {
    return sums.second[static_cast<size_t>(c)] * static_cast<double>(rs[c]);
  };
  for (int64_t c = 0; c < lines.channels; c++) {
    if (dbias) dbias.data<A>()[c] = static_cast<A>(dbias_of(c));
    if (dweight) dweight.data<A>()[c] = static_cast<A>(dweight_of(c));
  }

  // In evaluation mean and rstd are constants: slope and offset vanish.
  const double share = o.training ? 1 / static_cast<double>(lines.rows) : 0;
  const auto scale_of = [&](int64_t c) {
    return (w ? static_cast<double>(w[c]) : 1.0) * static_cast<double>(rs[c]);
  };
  g.scale = along_line<A>(lines, scale_of);
  g.slope = along_line<A>(lines, [&](int64_t c) {
    return -scale_of(c) * share * dweight_of(c) * static_cast<double>(rs[c]);
  });
  g.offset = along_line<A>(lines, [&](int64_t c) { return -scale_of(c) * share * dbias_of(c); });
  if (!dz && o.relu) {
    write_gradient<true>(lines, dx.data<T>(), pdy, px, py, g);
  } else {  // dz, where it was written, spares reading y again
    write_gradient<false, T>(lines, dx.data<T>(), dz ? dz : pdy, px, nullptr, g);
  }
}

}  // namespace

void Cpu::batch_norm_gradient(Tensor& dx, Tensor& dresidual, Tensor& dweight, Tensor& dbias,
                              const Tensor& dy, const Tensor& x, const Tensor& y,
                              const Tensor& mean, const Tensor& rstd, const Tensor& weight,
                              const BatchNormOptions& o) {
  visit_floating(x.dtype(), "batch_norm_gradient", [&]<class T>() {
    gradient<T>(dx, dresidual, dweight, dbias, dy, x, y, mean, rstd, weight, o);
  });
}

}  // namespace fulcrum
