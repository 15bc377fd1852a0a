// Convolutions and matrix products by oneDNN. Only onednn.cpp includes oneDNN's headers.
//
//   if (!cpu::onednn_conv2d(y, x, w, bias, g)) { … another way … }
//
// The contract is that of the kernels of the same names (kernels.inc). Each function returns false,
// with its output untouched, if oneDNN has nothing for these sizes and dtypes on this processor (f64
// always; bf16 where it is slower than f32), and always in a build without oneDNN. Primitives are cached
// by geometry, and so are refusals. The functions are thread-safe.
#pragma once

#include <string>

#include <fulcrum/core/kernels.h>

namespace fulcrum::cpu {

#ifdef FULCRUM_WITH_ONEDNN

inline constexpr bool kHasOnednn = true;

/// Returns the version of the library found at run time: "2.6.2".
std::string onednn_version();

/// Whether the processor has AMX and the library uses it: bf16 at many times the speed of f32.
bool onednn_has_tiles();

/// Whether oneDNN multiplies bf16 faster than f32 on this processor: by pairs (processor.h) or AMX's tiles.
bool onednn_multiplies_bf16();

bool onednn_conv2d(Tensor& y, const Tensor& x, const Tensor& w, const Tensor& bias, const Conv2dGeometry& g);
bool onednn_conv2d_data_gradient(Tensor& dx, const Tensor& dy, const Tensor& w, const Conv2dGeometry& g);
bool onednn_conv2d_weight_gradient(Tensor& dw, const Tensor& dy, const Tensor& x, const Conv2dGeometry& g);
bool onednn_gemm(Tensor& c, const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b, const Tensor& bias);

#else

inline constexpr bool kHasOnednn = false;

inline bool onednn_has_tiles() { return false; }
inline bool onednn_multiplies_bf16() { return false; }

inline bool onednn_conv2d(Tensor&, const Tensor&, const Tensor&, const Tensor&, const Conv2dGeometry&) { return false; }
inline bool onednn_conv2d_data_gradient(Tensor&, const Tensor&, const Tensor&, const Conv2dGeometry&) { return false; }
inline bool onednn_conv2d_weight_gradient(Tensor&, const Tensor&, const Tensor&, const Conv2dGeometry&) {
  return false;
}
inline bool onednn_gemm(Tensor&, const Tensor&, bool, const Tensor&, bool, const Tensor&) { return false; }

#endif

}  // namespace fulcrum::cpu
