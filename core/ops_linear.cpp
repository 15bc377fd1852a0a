// Matrix products.
#include <fulcrum/core/autograd.h>
#include <fulcrum/core/functors.h>
#include <fulcrum/core/kernels.h>
#include <fulcrum/core/ops.h>
#include <fulcrum/core/ops_checks.h>
#include <fulcrum/core/profile.h>

namespace fulcrum {

namespace {
/// The work of a product whose result has `elements`, each a sum of `terms` products.
Work work_of(int64_t elements, int64_t terms) {
  return {.flop = 2.0 * static_cast<double>(elements) * static_cast<double>(terms)};
}

Tensor product(const Shape& shape, const Tensor& a, bool ta, const Tensor& b, bool tb, DType dtype,
               const Tensor& bias = {}, bool relu = false) {
  Tensor c = empty(shape, {dtype, a.device()});
  dispatch(a, [&]<class K>() { K::gemm(c, a, ta, b, tb, bias, relu); });
  profile_work(work_of(c.numel(), a.size(ta ? 0 : 1)));
  return c;
}

Shape with_last(Shape shape, int64_t size) {
  shape.set(-1, size);
  return shape;
}

Tensor relu_gradient(const Tensor& dy, const Tensor& y) {
  Tensor dx = empty_like(dy);
  dispatch(dy, [&]<class K>() { K::template unary_gradient<Relu>(dx, dy, y); });
  return dx;
}
}  // namespace

namespace {
// One matrix product per leading index of a [batch, ·, ·] and b [batch, ·, ·]. each: the shape of one result.
Tensor products(const Shape& each, const Tensor& a, bool ta, const Tensor& b, bool tb, DType dtype) {
  Tensor c = empty({a.size(0), each[0], each[1]}, {dtype, a.device()});
  const auto matrix = [](const Tensor& t, int64_t i) { return t.slice(i, i + 1).reshape({t.size(1), t.size(2)}); };
  for (int64_t i = 0; i < a.size(0); i++) {
    Tensor to = matrix(c, i);
    dispatch(a, [&]<class K>() { K::gemm(to, matrix(a, i), ta, matrix(b, i), tb, {}, false); });
  }
  profile_work(work_of(c.numel(), a.size(ta ? 1 : 2)));
  return c;
}

Tensor batched_matmul(const Tensor& a, const Tensor& b) {
  const int64_t m = a.size(-2), k = a.size(-1), n = b.size(-1), batch = a.numel() / (m * k);
  const Tensor left = a.detach().reshape({batch, m, k}), right = b.detach().reshape({batch, k, n});
  return record("matmul", products({m, n}, left, false, right, false, a.dtype()).reshape(with_last(a.shape(), n)),
                {a, b},
                [left = Saved(left), right = Saved(right), sa = a.shape(), sb = b.shape(), db = gradient_dtype(b)](
                    const Tensor& dy, Needs need) -> Grads {
                  const Tensor g = dy.reshape({left->size(0), left->size(1), right->size(2)});
                  const Shape matrix_a{left->size(1), left->size(2)}, matrix_b{right->size(1), right->size(2)};
                  Grads grads(2);
                  if (need[0]) grads[0] = products(matrix_a, g, false, right, true, g.dtype()).reshape(sa);
                  if (need[1]) grads[1] = products(matrix_b, left, true, g, false, db).reshape(sb);
                  return grads;
                });
}

Shape batch_of(const Tensor& t) { return t.shape().without(-1).without(-1); }
}  // namespace

Tensor matmul(const Tensor& a, const Tensor& b) {
  if (b.dim() > 2 && a.dim() == b.dim()) {
    check(batch_of(a) == batch_of(b) && a.size(-1) == b.size(-2) && a.dtype() == b.dtype() && is_floating(a.dtype()),
          "[matmul] expected [..., m, k] and [..., k, n] of one floating dtype and the same leading sizes, got ",
          a.shape(), " ", a.dtype(), " and ", b.shape(), " ", b.dtype());
    check_one_device("matmul", {{"a", a}, {"b", b}});
    return batched_matmul(a, b);
  }
  check(a.dim() >= 2 && b.dim() == 2 && a.size(-1) == b.size(0) && a.dtype() == b.dtype(),
        "[matmul] expected [..., m, k] and [k, n] of one dtype, got ", a.shape(), " ", a.dtype(), " and ", b.shape(),
        " ", b.dtype());
  check(is_floating(a.dtype()), "[matmul] expected a floating dtype, got ", a.dtype());
  check_one_device("matmul", {{"a", a}, {"b", b}});
  const int64_t k = b.size(0), n = b.size(1), m = a.numel() / k;
  const Tensor rows = a.detach().reshape({m, k});
  Tensor y = product({m, n}, rows, false, b, false, a.dtype()).reshape(with_last(a.shape(), n));
  return record("matmul", y, {a, b},
                [rows = Saved(rows), b = Saved(b), from = a.shape(), db = gradient_dtype(b)](const Tensor& dy,
                                                                                             Needs need) -> Grads {
                  const Tensor g = dy.reshape({rows->size(0), b->size(1)});
                  Grads grads(2);
                  if (need[0]) grads[0] = product(rows->shape(), g, false, b, true, g.dtype()).reshape(from);
                  if (need[1]) grads[1] = product(b->shape(), rows, true, g, false, db);
                  return grads;
                });
}

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, bool relu) {
  check(x.dim() >= 1 && weight.dim() == 2 && x.size(-1) == weight.size(1) && x.dtype() == weight.dtype(),
        "[linear] expected x [..., in] and weight [out, in] of one dtype, got ", x.shape(), " ", x.dtype(), " and ",
        weight.shape(), " ", weight.dtype());
  check(is_floating(x.dtype()), "[linear] expected a floating dtype, got ", x.dtype());
  const int64_t in = weight.size(1), out = weight.size(0), m = x.numel() / in;
  check(!bias || bias.shape() == Shape{out}, "[linear] expected bias [", out, "], got ", bias ? bias.shape() : Shape());
  check_one_device("linear", {{"x", x}, {"weight", weight}, {"bias", bias}});
  const Tensor rows = x.detach().reshape({m, in});
  const Tensor flat = product({m, out}, rows, false, weight, true, x.dtype(), bias, relu);
  Tensor y = flat.reshape(with_last(x.shape(), out));
  return record(
      "linear", y, {x, weight, bias},
      [rows = Saved(rows), w = Saved(weight), from = x.shape(), dw = gradient_dtype(weight),
       dbias = bias ? bias.dtype() : x.dtype(),
       positive = relu ? Saved(flat) : Saved()](const Tensor& dy, Needs need) -> Grads {
        Tensor g = dy.reshape({rows->size(0), w->size(0)});
        if (positive) g = relu_gradient(g, positive);
        Grads grads(3);
        if (need[0]) grads[0] = product(rows->shape(), g, false, w, false, g.dtype()).reshape(from);
        if (need[1]) grads[1] = empty(w->shape(), {dw, g.device()});
        if (need[2]) grads[2] = empty({1, w->size(0)}, {dbias, g.device()});
        dispatch(g, [&]<class K>() {
          if (need[1] && need[2]) return K::linear_weight_gradient(grads[1], grads[2], g, rows);
          if (need[1]) K::gemm(grads[1], g, true, rows, false, {}, false);
          if (need[2]) K::reduce_sum(grads[2], g);
        });
        if (need[1]) profile_work(work_of(w->numel(), rows->size(0)));
        if (need[2]) grads[2] = grads[2].reshape({w->size(0)});
        return grads;
      },
      OpDetail(LinearCall{relu}));
}

}  // namespace fulcrum
