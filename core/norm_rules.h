// The scalar part of batch normalisation, shared by the CPU and CUDA kernels.
#pragma once

#include <fulcrum/core/types.h>

namespace fulcrum {

/// Of n numbers with these sums, f64: what the cancellation in Σx² costs is 1e-16 of mean²/variance.
struct BatchMoments {
  double mean, variance;  // biased

  FULCRUM_HD BatchMoments(double sum, double squares, double n) : mean(sum / n), variance(squares / n - mean * mean) {
    if (variance < 0) variance = 0;  // a NaN stays
  }
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
