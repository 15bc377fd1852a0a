// The gradient of a convolution's weights with AMX tiles: bf16 in, f32 out, many times as fast as with
// vectors. oneDNN computes the other passes; its weight gradient takes up to five times as long as this one.
//
//   if (tiles_available() && tile_conv_supported(g)) {
//     float* scratch = ...;  // tile_conv_scratch(g, ConvPass::kBackwardWeights, threads) floats
//     tile_conv_backward_weights(dw, x, dy, scratch, g, threads);
//   }
//
// x is [n, h, w, c_in] and dy [n, out_h, out_w, c_out], bf16 held in uint16_t; dw is [c_out, kernel_h,
// kernel_w, c_in] and overwritten. Results depend on `threads`, but not on how many threads OpenMP really
// supplies, nor on their timing. threads >= 1. Scratch must be aligned to 64 bytes. AMX treats denormal
// numbers as zero. A value that is not finite may spoil sums that it is not part of, as it is multiplied by
// zeros there.
#pragma once

#include <cstddef>
#include <cstdint>

#include <fulcrum/core/cpu/direct_conv.h>

namespace fulcrum::cpu {

// Whether the processor has AMX with bf16, the system lets the process use it, and tile_conv.cpp was compiled with
// AVX-512, which arranges the tiles.
bool tiles_available();

// Supports geometries whose output size is consistent with the rest, except those whose tiles would be mostly zeros
// (few outputs from a large input: 7×7 to 1×1, large strides), and those with so many taps times channels that their
// sums exceed the cache.
bool tile_conv_supported(const DirectConv& g);

// The floats of scratch that a call needs. `pass` must be ConvPass::kBackwardWeights.
std::size_t tile_conv_scratch(const DirectConv& g, ConvPass pass, int threads);

// Requires tiles_available().
void tile_conv_backward_weights(float* dw, const std::uint16_t* x, const std::uint16_t* dy, float* scratch,
                                const DirectConv& g, int threads);

}  // namespace fulcrum::cpu
