// The gradient of batch normalisation. It is memory-bound as well: dy and x are read twice; y is not read if the zeros
// of the ReLU can be found from x.
#include <algorithm>
#include <bit>
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

/// d where v > 0, else 0. Written as a mask, because GCC turns the obvious expression into branches, which do not
/// vectorise.
template <class A>
A where_positive(A v, A d) {
  using Bits = std::conditional_t<std::is_same_v<A, double>, uint64_t, uint32_t>;
  const Bits positive = Bits{v > A(0)};
  return std::bit_cast<A>(std::bit_cast<Bits>(d) & (Bits{0} - positive));
}

/// The inputs of dz, which is dy passed back through the ReLU: dy where the ReLU's input was positive, else 0.
template <class T>
struct GradientInputs {
  using A = Accumulate<T>;
  const T *dy, *also, *x, *y;     // also: null, or a second term of dy; y: null, or the result of the ReLU
  const A *mean, *scale, *shift;  // along a line (lines.h); scale and shift are null unless the mask is kInput
  int64_t words;

  /// dz of element k of word j.
  template <class W, int k, ReluMask kMask, bool kTwo>
  A dz(int64_t base, int64_t j) const {
    A d = W::template get<k>(dy + base, j);
    if constexpr (kTwo) d = W::kept(d + W::template get<k>(also + base, j));
    if constexpr (kMask == ReluMask::kResult) d = where_positive(W::template get<k>(y + base, j), d);
    if constexpr (kMask == ReluMask::kInput) {
      const int64_t at = k * words + j;
      d = where_positive(normalised(W::template get<k>(x + base, j), mean[at], scale[at], shift[at]), d);
    }
    return d;
  }
  template <class W, int k>
  A centred(int64_t base, int64_t j) const {
    return W::template get<k>(x + base, j) - mean[k * words + j];
  }
};

template <class F>
void visit_mask(ReluMask mask, F&& f) {
  using enum ReluMask;
  if (mask == kNone) f(std::integral_constant<ReluMask, kNone>());
  if (mask == kResult) f(std::integral_constant<ReluMask, kResult>());
  if (mask == kInput) f(std::integral_constant<ReluMask, kInput>());
}

/// Returns Σ dz and Σ dz·(x − mean). kWrite: also writes dz. kTwo: adds `also` to dy.
template <ReluMask kMask, bool kWrite, bool kTwo, class T, class A = Accumulate<T>>
ChannelSums gradient_sums(const Lines<T>& lines, T* dz, const GradientInputs<T>& in) {
  return cpu::sum_rows(lines, [=]<class W, int k>(int64_t base, int64_t j, A& u, A& v) {
    const A d = in.template dz<W, k, kMask, kTwo>(base, j);
    if constexpr (kWrite && k == 0)  // the whole word
      W::put(dz + base, j, [&]<int q>() { return in.template dz<W, q, kMask, kTwo>(base, j); });
    u += d;
    v += d * in.template centred<W, k>(base, j);
  });
}

/// dx = dz·scale + (x − mean)·slope + offset.
template <class T, ReluMask kMask>
struct GradientLine {
  using A = Accumulate<T>;
  T* dx;
  GradientInputs<T> inputs;
  const A *scale, *slope, *offset;

  template <class W>
  void operator()(int64_t base, int64_t first, int64_t last) const {
    const GradientInputs<T> in = inputs;
    T* to = dx + base;
    const A *a = scale, *b = slope, *c = offset;
#pragma omp simd
    for (int64_t j = first; j < last; j++)
      W::put(to, j, [&]<int k>() {
        const int64_t at = k * in.words + j;
        const A d = in.template dz<W, k, kMask, false>(base, j) * a[at];
        return d + (in.template centred<W, k>(base, j) * b[at] + c[at]);
      });
  }
};

/// The two passes of the gradient over x.
template <class T>
class GradientPasses {
 public:
  using A = Accumulate<T>;

  GradientPasses(const Tensor& x, const Tensor& mean)
      : lines_(x), mean_(along(mean, 0)), in_{nullptr,      nullptr, x.data<T>(), nullptr,
                                              mean_.data(), nullptr, nullptr,     lines_.words} {}

  const Lines<T>& lines() const { return lines_; }
  void no_relu() { mask_ = ReluMask::kNone; }
  void mask_by_result(const Tensor& y) {
    mask_ = ReluMask::kResult;
    in_.y = y.data<T>();
  }
  void mask_by_input(const Tensor& affine) {
    mask_ = ReluMask::kInput;
    scale_ = along(affine, 0);
    shift_ = along(affine, lines_.channels);
    in_.scale = scale_.data();
    in_.shift = shift_.data();
  }

  /// Returns Σ dz and Σ dz·(x − mean). Writes dz to dresidual, if defined. `also` is optional and requires dresidual.
  ChannelSums sums(Tensor& dresidual, const Tensor& dy, const Tensor& also) {
    T* dz = dresidual ? dresidual.data<T>() : nullptr;
    in_.dy = dy.data<T>();
    in_.also = also ? also.data<T>() : nullptr;
    ChannelSums sums;
    visit_mask(mask_, [&](auto mask) {
      if (also) sums = gradient_sums<mask, true, true>(lines_, dz, in_);
      else if (dz) sums = gradient_sums<mask, true, false>(lines_, dz, in_);
      else sums = gradient_sums<mask, false, false>(lines_, dz, in_);
    });
    return sums;
  }

  /// Computes dx from the sums. share: 1/rows, or 0 where mean and rstd are constants.
  void apply(Tensor& dx, const Tensor& dy, const Tensor& rstd, const Tensor& weight, const ChannelSums& sums,
             double share) {
    const A* w = weight ? weight.data<A>() : nullptr;
    const auto channel = [&](int64_t c) {
      const auto at = static_cast<size_t>(c);
      return ChannelGradient<A>(sums.first[at], sums.second[at], w, rstd.data<A>(), share, c);
    };
    const std::vector<A> scale = along_line(lines_, [&](int64_t c) { return channel(c).scale; });
    const std::vector<A> slope = along_line(lines_, [&](int64_t c) { return channel(c).slope; });
    const std::vector<A> offset = along_line(lines_, [&](int64_t c) { return channel(c).offset; });
    in_.dy = dy.data<T>();
    visit_mask(mask_, [&](auto mask) {
      cpu::for_lines(lines_, GradientLine<T, mask>{dx.data<T>(), in_, scale.data(), slope.data(), offset.data()});
    });
  }

 private:
  std::vector<A> along(const Tensor& channels, int64_t from) const {
    const A* p = channels.data<A>() + from;
    return along_line(lines_, [p](int64_t c) { return p[c]; });
  }

  Lines<T> lines_;
  std::vector<A> mean_, scale_, shift_;
  GradientInputs<T> in_;
  ReluMask mask_ = ReluMask::kNone;
};

template <class T>
void gradient(Tensor& dx, Tensor& dresidual, Tensor& dweight, Tensor& dbias, const Tensor& dy, const Tensor& also,
              const Tensor& x, const BatchNormSaved& saved, const Tensor& weight, const BatchNormOptions& o) {
  using A = Accumulate<T>;
  GradientPasses<T> passes(x, saved.mean);
  if (o.relu) saved.y ? passes.mask_by_result(saved.y) : passes.mask_by_input(saved.affine);
  const ChannelSums sums = passes.sums(dresidual, dy, also);
  for (int64_t c = 0; c < passes.lines().channels; c++) {
    const auto at = static_cast<size_t>(c);
    if (dbias) dbias.data<A>()[c] = static_cast<A>(sums.first[at]);
    if (dweight) dweight.data<A>()[c] = static_cast<A>(sums.second[at] * static_cast<double>(saved.rstd.data<A>()[c]));
  }
  const double share = o.training ? 1 / static_cast<double>(passes.lines().rows) : 0;
  if (dresidual) passes.no_relu();  // dresidual holds dz, already masked
  passes.apply(dx, dresidual ? dresidual : dy, saved.rstd, weight, sums, share);
}

}  // namespace

void Cpu::batch_norm_gradient(Tensor& dx, Tensor& dresidual, Tensor& dweight, Tensor& dbias, const Tensor& dy,
                              const Tensor& also, const Tensor& x, const BatchNormSaved& saved, const Tensor& weight,
                              const BatchNormOptions& o) {
  visit_floating(x.dtype(), "batch_norm_gradient",
                 [&]<class T>() { gradient<T>(dx, dresidual, dweight, dbias, dy, also, x, saved, weight, o); });
}

void Cpu::batch_norm_gradient_sums(Tensor& sums, Tensor& dresidual, const Tensor& dy, const Tensor& x, const Tensor& y,
                                   const Tensor& mean, const BatchNormOptions& o) {
  visit_floating(x.dtype(), "batch_norm_gradient", [&]<class T>() {
    GradientPasses<T> passes(x, mean);
    if (o.relu) passes.mask_by_result(y);
    const ChannelSums s = passes.sums(dresidual, dy, {});
    std::copy(s.second.begin(), s.second.end(), std::copy(s.first.begin(), s.first.end(), sums.data<double>()));
  });
}

void Cpu::batch_norm_gradient_apply(Tensor& dx, const Tensor& dy, const Tensor& x, const Tensor& y, const Tensor& mean,
                                    const Tensor& rstd, const Tensor& weight, const Tensor& sums, int64_t rows,
                                    const BatchNormOptions& o) {
  visit_floating(x.dtype(), "batch_norm_gradient", [&]<class T>() {
    const double *first = sums.data<double>(), *second = first + x.size(-1), *end = second + x.size(-1);
    GradientPasses<T> passes(x, mean);
    if (o.relu) passes.mask_by_result(y);
    passes.apply(dx, dy, rstd, weight, {{first, second}, {second, end}}, 1 / static_cast<double>(rows));
  });
}

}  // namespace fulcrum
