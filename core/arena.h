// Arenas: parameters, their gradients and their bf16 twins, each in one contiguous block.
//
//   Arena arena = Arena::lay_out(parameters, {DType::kF32, device}, /*twin=*/DType::kBf16);
//
// One memset clears every gradient, one kernel updates every parameter, a checkpoint is a few
// copies, and addresses never change. Every tensor starts on a 256-byte boundary; the padding is
// zero. The handles in `parameters` are rebound in place, so layers see the new storage.
#pragma once

#include <optional>
#include <vector>

#include <fulcrum/core/tensor.h>

namespace fulcrum {

struct Arena {
  Tensor values;                 // [total], f32 or f64; from the first parameter to the last
  Tensor grads;                  // same layout; every parameter's grad() is a view of it
  Tensor twin;                   // bf16 copy of values, or undefined
  std::vector<int64_t> offsets;  // where each parameter starts in `values`, in elements

  /// Moves the parameters (converted to options.dtype) into one arena. Those that require a
  /// gradient get a zeroed view of `grads`.
  static Arena lay_out(const std::vector<Tensor>& parameters, TensorOptions options, std::optional<DType> twin = {});
  /// Returns the part of an existing arena that spans these parameters, or nothing unless one arena holds them all.
  /// Other parameters may lie between them.
  static std::optional<Arena> holding(const std::vector<Tensor>& parameters);
  /// Returns the ranges of the arena, in elements, that contain nothing but these parameters and padding.
  std::vector<Slice> runs(const std::vector<Tensor>& parameters) const;
  /// Recomputes the twin from `values`; call it after writing to `values` directly.
  void refresh_twin();
};

/// Recomputes one parameter's twin from its master. Does nothing if the parameter has no twin.
void refresh_twin(const Tensor& parameter);

}  // namespace fulcrum
