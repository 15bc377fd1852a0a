// Matrix products.
#include <fulcrum/core/autograd.h>
#include <fulcrum/core/kernels.h>
#include <fulcrum/core/ops.h>
#include <fulcrum/core/ops_checks.h>
#include <fulcrum/core/profile.h>

namespace fulcrum {

namespace {
Tensor product(const Shape& shape, const Tensor& a, bool ta, const Tensor& b, bool tb, DType dtype,
               const Tensor& bias = {}) {
  Tensor c = empty(shape, {dtype, a.device()});
  dispatch(a.device(), [&]<class K>() { K::gemm(c, a, ta, b, tb, bias); });
  profile_work({.flop = 2.0 * static_cast<double>(c.numel()) * static_cast<double>(a.size(ta ? 0 : 1))});
  return c;
}

Shape with_last(Shape shape, int64_t size) {
  shape.set(-1, size);
  return shape;
}

DType gradient_dtype(const Tensor& x) { return x.node() ? x.node()->dtype : x.dtype(); }
}  // namespace

Tensor matmul(const Tensor& a, const Tensor& b) {
  check(a.dim() >= 2 && b.dim() == 2 && a.size(-1) == b.size(0) && a.dtype() == b.dtype(),
        "[matmul] expected [..., m, k] and [k, n] of one dtype, got ", a.shape(), " ", a.dtype(),
        " and ", b.shape(), " ", b.dtype());
  check_one_device("matmul", {{"a", a}, {"b", b}});
  const int64_t k = b.size(0), n = b.size(1), m = a.numel() / k;
  const Tensor rows = a.detach().reshape({m, k});
  Tensor y = product({m, n}, rows, false, b, false, a.dtype()).reshape(with_last(a.shape(), n));
  return record("matmul", y, {a, b},
                [rows, b = b.detach(), from = a.shape(), db = gradient_dtype(b)](
                    const Tensor& dy, Needs need) -> Grads {
                  const Tensor g = dy.reshape({rows.size(0), b.size(1)});
                  Grads grads(2);
                  if (need[0]) grads[0] = product(rows.shape(), g, false, b, true, g.dtype()).reshape(from);
                  if (need[1]) grads[1] = product(b.shape(), rows, true, g, false, db);
                  return grads;
                });
}

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  check(x.dim() >= 1 && weight.dim() == 2 && x.size(-1) == weight.size(1) && x.dtype() == weight.dtype(),
        "[linear] expected x [..., in] and weight [out, in] of one dtype, got ", x.shape(), " ",
        x.dtype(), " and ", weight.shape(), " ", weight.dtype());
  const int64_t in = weight.size(1), out = weight.size(0), m = x.numel() / in;
  check(!bias || bias.shape() == Shape{out}, "[linear] expected bias [", out, "], got ",
        bias ? bias.shape() : Shape());
  check_one_device("linear", {{"x", x}, {"weight", weight}, {"bias", bias}});
  const Tensor rows = x.detach().reshape({m, in});
  Tensor y = product({m, out}, rows, false, weight, true, x.dtype(), bias).reshape(with_last(x.shape(), out));
  return record("linear", y, {x, weight, bias},
                [rows, w = weight.detach(), from = x.shape(), dw = gradient_dtype(weight),
                 dbias = bias ? bias.dtype() : x.dtype()](const Tensor& dy, Needs need) -> Grads {
                  const Tensor g = dy.reshape({rows.size(0), w.size(0)});
                  Grads grads(3);
                  if (need[0]) grads[0] = product(rows.shape(), g, false, w, false, g.dtype()).reshape(from);
                  if (need[1]) grads[1] = product(w.shape(), g, true, rows, false, dw);
                  if (need[2]) {
                    Tensor sums = empty({1, w.size(0)}, {dbias, g.device()});
                    dispatch(g.device(), [&]<class K>() { K::reduce_sum(sums, g); });
                    grads[2] = sums.reshape({w.size(0)});
                  }
                  return grads;
                });
}

}  // namespace fulcrum
