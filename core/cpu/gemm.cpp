// Matrix products: by oneDNN in f32 and, where it pays on this processor, in bf16; otherwise by Eigen.
#include <Eigen/Core>

#include <fulcrum/core/cpu/onednn.h>
#include <fulcrum/core/cpu/scratch.h>
#include <fulcrum/core/functors.h>
#include <fulcrum/core/kernels.h>

namespace fulcrum {

namespace {

template <class T>
void eigen_gemm(Tensor& c, const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b, const Tensor& bias) {
  using Matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const auto matrix = [](const Tensor& t) { return Eigen::Map<const Matrix>(t.data<T>(), t.size(0), t.size(1)); };
  Eigen::Map<Matrix> out(c.data<T>(), c.size(0), c.size(1));
  const auto ma = matrix(a), mb = matrix(b);
  if (transpose_a && transpose_b) {
    out.noalias() = ma.transpose() * mb.transpose();
  } else if (transpose_a) {
    out.noalias() = ma.transpose() * mb;
  } else if (transpose_b) {
    out.noalias() = ma * mb.transpose();
  } else {
    out.noalias() = ma * mb;
  }
  if (bias) out.rowwise() += Eigen::Map<const Eigen::RowVectorX<T>>(bias.data<T>(), bias.numel());
}

void product(Tensor& c, const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b, const Tensor& bias) {
  if (cpu::onednn_gemm(c, a, transpose_a, b, transpose_b, bias)) return;
  const DType dtype = master_dtype(a.dtype());
  cpu::compute_in(dtype, c, [&](Tensor& out) {
    const Tensor left = cpu::converted(a, dtype), right = cpu::converted(b, dtype);
    const Tensor added = cpu::converted(bias, dtype);
    if (dtype == DType::kF64) {
      eigen_gemm<double>(out, left, transpose_a, right, transpose_b, added);
    } else if (!cpu::onednn_gemm(out, left, transpose_a, right, transpose_b, added)) {
      eigen_gemm<float>(out, left, transpose_a, right, transpose_b, added);
    }
  });
}

}  // namespace

void Cpu::gemm(Tensor& c, const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b, const Tensor& bias,
               bool relu) {
  product(c, a, transpose_a, b, transpose_b, bias);
  if (relu) unary<Relu>(c, c);
}

void Cpu::linear_weight_gradient(Tensor& dw, Tensor& dbias, const Tensor& dy, const Tensor& x) {
  product(dw, dy, true, x, false, {});
  reduce_sum(dbias, dy);
}

}  // namespace fulcrum
