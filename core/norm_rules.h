// Per-channel arithmetic of batch normalisation, shared by the CPU and CUDA kernels.
#pragma once

#include <cmath>

#include <fulcrum/core/types.h>

namespace fulcrum {

/// Clamps the small negative values that cancellation leaves; passes NaN.
FULCRUM_HD inline double not_negative(double variance) { return variance < 0 ? 0 : variance; }

/// Moments of n numbers from Σx and Σx². In f64, cancellation costs a relative error of 1e-16·mean²/variance.
struct BatchMoments {
  double mean, variance;  // biased

  FULCRUM_HD BatchMoments(double sum, double squares, double n)
      : mean(sum / n), variance(not_negative(squares / n - mean * mean)) {}
};

/// Converts the biased variance of a batch to the unbiased one that the running variance tracks.
FULCRUM_HD inline double unbiased(double variance, double n) { return n > 1 ? variance * (n / (n - 1)) : variance; }

/// running = (1 − momentum)·running + momentum·value. Skips values that are not finite, which would spoil the running
/// statistics for the rest of the run.
template <class A>
FULCRUM_HD void track(A* running, int64_t c, double value, double momentum) {
  if (!running || !std::isfinite(value)) return;
  running[c] = static_cast<A>((1 - momentum) * static_cast<double>(running[c]) + momentum * value);
}

/// The arguments of normalised() for channel c: scale = weight/√(variance + eps), and a shift, which is the bias
/// corrected for rounding the mean to A.
template <class A>
struct ChannelAffine {
  double rstd, scale, shift;

  FULCRUM_HD ChannelAffine(double mean, double variance, double eps, const A* weight, const A* bias, int64_t c)
      : rstd(1 / std::sqrt(variance + eps)),
        scale((weight ? static_cast<double>(weight[c]) : 1.0) * rstd),
        shift((bias ? static_cast<double>(bias[c]) : 0.0) -
              (mean - static_cast<double>(static_cast<A>(mean))) * scale) {}
};

/// The coefficients of dx = dz·scale + (x − mean)·slope + offset. first = Σ dz, second = Σ dz·(x − mean); share is
/// 1/rows, or 0 where mean and rstd are constants.
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

/// The normalised value, before residual and ReLU. The gradient recomputes it to find the zeros of the ReLU, so it must
/// round alike in both passes. The mean is subtracted first, and `shift` contains its rounding error, so that a channel
/// whose mean is far from zero loses no digits.
template <class A>
FULCRUM_HD A normalised(A x, A mean, A scale, A shift) {
  return (x - mean) * scale + shift;
}

/// Where the gradient of batch normalisation finds which elements passed the ReLU: there is none, from the ReLU's
/// result, or from the input x.
enum class ReluMask { kNone, kResult, kInput };

}  // namespace fulcrum
