// Convolutions of any geometry, in f32 and f64: im2col for one image and group at a time, then a
// matrix product. Written for clarity; the tests compare the fast kernels with it, and it serves where none applies.
// The contract is that of the kernels of the same names (kernels.inc); all tensors have one dtype.
#pragma once

#include <fulcrum/core/kernel_types.h>

namespace fulcrum::cpu {

void reference_conv2d(Tensor& y, const Tensor& x, const Tensor& w, const Tensor& bias, const Conv2dGeometry& g);
void reference_conv2d_data_gradient(Tensor& dx, const Tensor& dy, const Tensor& w, const Conv2dGeometry& g);
void reference_conv2d_weight_gradient(Tensor& dw, const Tensor& dy, const Tensor& x, const Conv2dGeometry& g);

}  // namespace fulcrum::cpu
