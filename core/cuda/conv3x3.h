// 3×3 convolutions of few channels in bf16 by kernels of our own, for ResNets on 32×32 images: cuDNN's kernels are made
// for more channels (times: docs/performance.md).
//
//   if (conv3x3_fits(problem)) conv3x3(problem, {.x = x.raw(), .w = w.raw(), .y = y.raw()});
#pragma once

#include <fulcrum/core/cuda/cudnn.h>

namespace fulcrum::cuda {

/// Whether these kernels can compute the problem: bf16, stride 1, padding 1, dilation 1, 16, 32 or 64 channels in and
/// as many out, no bias, no groups.
bool conv3x3_fits(const ConvProblem& problem);

/// Enqueues any of the three passes. Sums are f32, in a fixed order that differs from cuDNN's.
void conv3x3(const ConvProblem& problem, const ConvPointers& pointers);

}  // namespace fulcrum::cuda
