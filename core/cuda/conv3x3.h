// Convolutions 3×3 of few channels in bf16, by kernels of our own: those of ResNets for images of 32×32, for which the
// library's are made for more channels (docs/performance.md has what they take).
//
//   if (conv3x3_fits(problem)) conv3x3(problem, {.x = x.raw(), .w = w.raw(), .y = y.raw()});
#pragma once

#include <fulcrum/core/cuda/cudnn.h>

namespace fulcrum::cuda {

/// bf16, stride 1, padding 1, as many channels out as in: 16, 32 or 64. No bias, no groups.
bool conv3x3_fits(const ConvProblem& problem);

/// Enqueues any of the three passes. Sums are f32, in an order of their own that is always the same.
void conv3x3(const ConvProblem& problem, const ConvPointers& pointers);

}  // namespace fulcrum::cuda
