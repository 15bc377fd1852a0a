// Turns blocks of 2×2 pixels into pixels of four times the channels: a convolution of stride 2 over images of few
// channels becomes one of stride 1 with enough channels for tensor cores (what this gains: docs/performance.md).
//
//   Tensor y = empty({n, h / 2 + 3, w / 2 + 3, 16}, options_of(x));
//   space_to_depth(y, x, /*offset=*/4);     // x [n, h, w, 3]
#pragma once

#include <fulcrum/core/tensor.h>

namespace fulcrum::cuda {

/// y[n, i, j, (2a + b)·c + k] = x[n, 2i + a − offset, 2j + b − offset, k] for a, b in {0, 1} where x has that pixel;
/// the rest of y is 0. x [n, h, w, c] and y [n, h', w', ≥ 4c], of one floating dtype; y's channels fill 16 bytes.
void space_to_depth(Tensor& y, const Tensor& x, int64_t offset);
/// The inverse: computes x from the y that space_to_depth would make of it.
void depth_to_space(Tensor& x, const Tensor& y, int64_t offset);

}  // namespace fulcrum::cuda
