// Convolutions and matrix products of the emulated device: the CPU's, at the level of the contract.
// What cuDNN and cuBLASLt do is tested where there is a device.
#include <cstring>
#include <utility>
#include <vector>

#include <fulcrum/core/kernels.h>

#include "recorder.h"

namespace fulcrum {

namespace {

/// A tensor's memory and form, kept without keeping the tensor: a recorded step owns none.
struct Memory {
  void* data = nullptr;
  Shape shape;
  DType dtype = DType::kF32;

  Memory(const Tensor& t) {  // NOLINT: implicit on purpose
    if (t) data = const_cast<void*>(t.raw()), shape = t.shape(), dtype = t.dtype();
  }
  Tensor on_host() const {
    if (!data) return {};
    Tensor t = empty(shape, {dtype, {}});
    std::memcpy(t.raw(), data, t.bytes());
    return t;
  }
};

/// Enqueues compute(result, inputs…) on copies in the host's memory.
template <class Compute>
void on_host(const Tensor& y, const std::vector<Memory>& inputs, Compute compute) {
  simt::enqueue([result = Memory(y), inputs, compute] {
    Tensor out = result.on_host();
    std::vector<Tensor> in;
    for (const Memory& m : inputs) in.push_back(m.on_host());
    compute(out, in);
    std::memcpy(result.data, out.raw(), out.bytes());
  });
}

using Inputs = std::vector<Tensor>;

}  // namespace

void Cuda::gemm(Tensor& c, const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b, const Tensor& bias) {
  on_host(c, {a, b, bias}, [=](Tensor& y, const Inputs& in) {
    Cpu::gemm(y, in[0], transpose_a, in[1], transpose_b, in[2]);
  });
}

void Cuda::conv2d(Tensor& y, const Tensor& x, const Tensor& w, const Tensor& bias, const Conv2dGeometry& g) {
  on_host(y, {x, w, bias}, [g](Tensor& out, const Inputs& in) { Cpu::conv2d(out, in[0], in[1], in[2], g); });
}

void Cuda::conv2d_data_gradient(Tensor& dx, const Tensor& dy, const Tensor& w, const Conv2dGeometry& g) {
  on_host(dx, {dy, w}, [g](Tensor& out, const Inputs& in) { Cpu::conv2d_data_gradient(out, in[0], in[1], g); });
}

void Cuda::conv2d_weight_gradient(Tensor& dw, const Tensor& dy, const Tensor& x, const Conv2dGeometry& g) {
  on_host(dw, {dy, x}, [g](Tensor& out, const Inputs& in) {
    Tensor wide = empty(out.shape(), {out.dtype() == DType::kBf16 ? DType::kF32 : out.dtype(), {}});
    Cpu::conv2d_weight_gradient(wide, in[0], in[1], g);
    Cpu::cast(out, wide);
  });
}

}  // namespace fulcrum
