// The weight gradient of conv3x3.h.
#pragma once

#include <fulcrum/core/kernels.h>

namespace fulcrum::cuda {

/// Computes dw [C, 3, 3, C] from dy and x [n, h, w, C]; C is 16, 32 or 64.
void conv3x3_weight_gradient(bf16* dw, const bf16* dy, const bf16* x, const Conv2dGeometry& g);

}  // namespace fulcrum::cuda
