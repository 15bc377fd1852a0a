// The gradient of a convolution's weights by the tiles of AMX: bf16 in, f32 out, at many times the
// speed of vectors. The other passes are oneDNN's, whose gradient of weights takes up to five times as long.
//
//   if (tiles_available() && tile_conv_supported(g)) {
//     float* scratch = ...;  // tile_conv_scratch(g, ConvPass::kBackwardWeights, threads) floats
//     tile_conv_backward_weights(dw, x, dy, scratch, g, threads);
//   }
//
// x is [n, h, w, c_in] and dy [n, out_h, out_w, c_out], bf16 held in uint16_t; dw is [c_out, kernel_h,
// kernel_w, c_in] and overwritten. Results depend on `threads`, never on how many threads OpenMP really
// supplies nor on their timing. threads >= 1. Scratch is aligned to 64 bytes. Denormal numbers count as zero, as AMX has it, and
// an input that is not finite may reach sums that do not take it: it is multiplied by zeros.
#pragma once

#include <cstddef>
#include <cstdint>

#include <fulcrum/core/cpu/direct_conv.h>

namespace fulcrum::cpu {

// Whether the processor has AMX with bf16, the system lets the process use it, and this file was compiled with
// AVX-512, which lays the tiles out.
bool tiles_available();

// Geometries whose output size follows from the rest, but for those that are mostly zeros to the tiles (few outputs of a large
// input: 7×7 to 1×1, strides of many pixels) and those with more taps times channels than have their sums in the cache.
bool tile_conv_supported(const DirectConv& g);

// For ConvPass::kBackwardWeights, the one pass there is.
std::size_t tile_conv_scratch(const DirectConv& g, ConvPass pass, int threads);

// Only where tiles are available.
void tile_conv_backward_weights(float* dw, const std::uint16_t* x, const std::uint16_t* dy, float* scratch,
                                const DirectConv& g, int threads);

}  // namespace fulcrum::cpu
