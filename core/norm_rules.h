// The arithmetic of a channel in batch normalisation, shared by the CPU and CUDA kernels.
#pragma once

#include <cmath>

#include <fulcrum/core/types.h>

namespace fulcrum {

/// Without what cancellation leaves below 0; a NaN stays.
FULCRUM_HD inline double not_negative(double variance) { return variance < 0 ? 0 : variance; }

/// Of n numbers with these sums, f64: what the cancellation in Σx² costs is 1e-16 of mean²/variance.
struct BatchMoments {
  double mean, variance;  // biased

  FULCRUM_HD BatchMoments(double sum, double squares, double n)
      : mean(sum / n), variance(not_negative(squares / n - mean * mean)) {}
};

/// What the running variance takes of a batch's, which is biased.
FULCRUM_HD inline double unbiased(double variance, double n) { return n > 1 ? variance * (n / (n - 1)) : variance; }

/// running = (1 − momentum)·running + momentum·value. What is not finite would spoil the last good state of a run for ever.
template <class A>
FULCRUM_HD void track(A* running, int64_t c, double value, double momentum) {
  if (!running || !std::isfinite(value)) return;
  running[c] = static_cast<A>((1 - momentum) * static_cast<double>(running[c]) + momentum * value);
}

/// What `normalised` takes of channel c: weight/√(variance + eps), and the bias less what rounding the mean to A has lost.
template <class A>
struct ChannelAffine {
  double rstd, scale, shift;

  FULCRUM_HD ChannelAffine(double mean, double variance, double eps, const A* weight, const A* bias, int64_t c)
      : rstd(1 / std::sqrt(variance + eps)),
        scale((weight ? static_cast<double>(weight[c]) : 1.0) * rstd),
        shift((bias ? static_cast<double>(bias[c]) : 0.0) -
              (mean - static_cast<double>(static_cast<A>(mean))) * scale) {}
};

/// dx = dz·scale + (x − mean)·slope + offset, from Σ dz and Σ dz·(x − mean); share: 1/rows, or 0 where mean and rstd are
/// constants.
template <class A>
struct ChannelGradient {
  double dbias, dweight, scale, slope, offset;

  FULCRUM_HD ChannelGradient(double first, double second, const A* weight, const A* rstd, double share, int64_t c)
      : dbias(first),
        dweight(second * static_cast<double>(rstd[c])),
        scale((weight ? static_cast<double>(weight[c]) : 1.0) * static_cast<double>(rstd[c])),
        slope(-scale * share * dweight * static_cast<double>(rstd[c])),
        offset(-scale * share * dbias) {}
};

/// Before residual and ReLU. The gradient takes the zeros of a ReLU from it, too, so it must round the same in both. The
/// mean is subtracted first, and what its rounding to A lost is in the shift: so a channel far from zero keeps all its
/// digits.
template <class A>
FULCRUM_HD A normalised(A x, A mean, A scale, A shift) {
  return (x - mean) * scale + shift;
}

/// Where the gradient of batch normalisation finds which elements the ReLU let through.
enum class ReluMask { kNone, kResult, kInput };

}  // namespace fulcrum
