// The scalar part of batch normalisation in parts, shared by the CPU and CUDA kernels.
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

}  // namespace fulcrum
