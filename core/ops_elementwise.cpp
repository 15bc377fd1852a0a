// Element-wise operations: unary functors, broadcasting binaries, casts, dropout.
#include <cmath>

#include <fulcrum/core/autograd.h>
#include <fulcrum/core/functors.h>
#include <fulcrum/core/kernels.h>
#include <fulcrum/core/ops.h>
#include <fulcrum/core/ops_checks.h>
#include <fulcrum/core/recompute.h>

namespace fulcrum {

namespace {

void check_floating(const char* op, const Tensor& x) {
  check(is_floating(x.dtype()), "[", op, "] expected a floating dtype, got ", x.dtype(), " ", x.shape());
}

template <class F>
Tensor unary(const Tensor& x) {
  check_floating(F::kName, x);
  Tensor y = empty_like(x);
  dispatch(x, [&]<class K>() { K::template unary<F>(y, x); });
  return record(F::kName, y, {x},
                [saved = Saved(F::kSaves == Saves::kInput ? x : y)](const Tensor& dy, Needs) -> Grads {
                  Tensor dx = empty_like(dy);
                  dispatch(dy, [&]<class K>() { K::template unary_gradient<F>(dx, dy, saved); });
                  return {dx};
                });
}

Shape broadcast_shape(const char* op, const Shape& a, const Shape& b) {
  Shape y = a.dim() >= b.dim() ? a : b;
  for (int i = 1; i <= y.dim(); i++) {
    const int64_t p = i <= a.dim() ? a[-i] : 1, q = i <= b.dim() ? b[-i] : 1;
    check(p == q || p == 1 || q == 1, "[", op, "] expected shapes that broadcast, got ", a, " and ", b);
    y.set(-i, std::max(p, q));
  }
  return y;
}

template <class F>
Tensor binary(const Tensor& a, const Tensor& b) {
  check_floating(F::kName, a);
  check(a.dtype() == b.dtype(), "[", F::kName, "] expected one dtype, got ", a.dtype(), " and ", b.dtype());
  check_one_device(F::kName, {{"a", a}, {"b", b}});
  Tensor y = empty(broadcast_shape(F::kName, a.shape(), b.shape()), options_of(a));
  dispatch(a, [&]<class K>() { K::template binary<F>(y, a, b); });
  return y;
}

// The gradient of a broadcast input: g summed over the broadcast dimensions.
Tensor sum_to(const Tensor& g, const Shape& shape) {
  if (g.shape() == shape) return g;
  Shape kept = g.shape();
  for (int i = 1; i <= kept.dim(); i++)
    if (i > shape.dim() || shape[-i] == 1) kept.set(-i, 1);
  Tensor y = empty(kept, options_of(g));
  dispatch(g, [&]<class K>() { K::reduce_sum(y, g); });
  return y.reshape(shape);
}

}  // namespace

Tensor exp(const Tensor& x) { return unary<Exp>(x); }
Tensor log(const Tensor& x) { return unary<Log>(x); }
Tensor sqrt(const Tensor& x) { return unary<Sqrt>(x); }
Tensor tanh(const Tensor& x) { return unary<Tanh>(x); }
Tensor sigmoid(const Tensor& x) { return unary<Sigmoid>(x); }
Tensor softplus(const Tensor& x) { return unary<Softplus>(x); }
Tensor gelu(const Tensor& x, GeluApproximation approximate) {
  return approximate == GeluApproximation::kTanh ? unary<GeluTanh>(x) : unary<Gelu>(x);
}
Tensor relu(const Tensor& x) { return unary<Relu>(x); }
Tensor neg(const Tensor& x) { return unary<Neg>(x); }
Tensor abs(const Tensor& x) { return unary<Abs>(x); }
Tensor square(const Tensor& x) { return unary<Square>(x); }

Tensor add(const Tensor& a, const Tensor& b) {
  return record("add", binary<Add>(a, b), {a, b},
                [sa = a.shape(), sb = b.shape()](const Tensor& dy, Needs need) -> Grads {
                  return {need[0] ? sum_to(dy, sa) : Tensor(), need[1] ? sum_to(dy, sb) : Tensor()};
                });
}

Tensor sub(const Tensor& a, const Tensor& b) {
  return record("sub", binary<Sub>(a, b), {a, b},
                [sa = a.shape(), sb = b.shape()](const Tensor& dy, Needs need) -> Grads {
                  return {need[0] ? sum_to(dy, sa) : Tensor(), need[1] ? sum_to(neg(dy), sb) : Tensor()};
                });
}

Tensor mul(const Tensor& a, const Tensor& b) {
  // Save each factor only if the other one needs a gradient.
  const Saved for_b = b.requires_grad() ? Saved(a) : Saved(), for_a = a.requires_grad() ? Saved(b) : Saved();
  return record(
      "mul", binary<Mul>(a, b), {a, b},
      [for_a, for_b, sa = a.shape(), sb = b.shape()](const Tensor& dy, Needs need) -> Grads {
        return {need[0] ? sum_to(mul(dy, for_a), sa) : Tensor(), need[1] ? sum_to(mul(dy, for_b), sb) : Tensor()};
      });
}

Tensor div(const Tensor& a, const Tensor& b) {
  Tensor y = binary<Div>(a, b);
  const Saved for_b = b.requires_grad() ? Saved(y) : Saved();
  return record("div", y, {a, b}, [sa = a.shape(), y = for_b, b = Saved(b)](const Tensor& dy, Needs need) -> Grads {
    const Tensor da = div(dy, b);
    return {need[0] ? sum_to(da, sa) : Tensor(), need[1] ? sum_to(neg(mul(da, y)), b->shape()) : Tensor()};
  });
}

namespace {
// The gradient of maximum and minimum: dy goes to the input that won; on a tie, half to each.
Gradient winner_gradient(const Tensor& a, const Tensor& b, bool larger_wins) {
  return [a = Saved(a), b = Saved(b), larger_wins](const Tensor& dy, Needs need) -> Grads {
    const Tensor da = mul(dy, larger_wins ? binary<Share>(a, b) : binary<Share>(b, a));
    return {need[0] ? sum_to(da, a->shape()) : Tensor(), need[1] ? sum_to(sub(dy, da), b->shape()) : Tensor()};
  };
}
}  // namespace

Tensor maximum(const Tensor& a, const Tensor& b) {
  return record("maximum", binary<Maximum>(a, b), {a, b}, winner_gradient(a, b, true));
}
Tensor minimum(const Tensor& a, const Tensor& b) {
  return record("minimum", binary<Minimum>(a, b), {a, b}, winner_gradient(a, b, false));
}

namespace {
template <class F>
Tensor compare(const Tensor& a, const Tensor& b) {
  if (is_floating(a.dtype())) return binary<F>(a.detach(), b.detach());
  check(a.dtype() == b.dtype(), "[", F::kName, "] expected one dtype, got ", a.dtype(), " and ", b.dtype());
  return cast(binary<F>(cast(a, DType::kF64), cast(b, DType::kF64)), DType::kF32);
}
}  // namespace

Tensor eq(const Tensor& a, const Tensor& b) { return compare<Equal>(a, b); }
Tensor ne(const Tensor& a, const Tensor& b) { return 1 - eq(a, b); }
Tensor gt(const Tensor& a, const Tensor& b) { return compare<Greater>(a, b); }
Tensor ge(const Tensor& a, const Tensor& b) { return compare<GreaterEqual>(a, b); }
Tensor lt(const Tensor& a, const Tensor& b) { return gt(b, a); }
Tensor le(const Tensor& a, const Tensor& b) { return ge(b, a); }

Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b) {
  // Compare with 0 in the condition's own dtype: a small number may become 0 in another.
  const Tensor holds = condition.dtype() == a.dtype() ? condition.detach() : cast(ne(condition, 0), a.dtype());
  return record("where", binary<Add>(binary<Keep>(holds, a), binary<Drop>(holds, b)), {a, b},
                [holds = Saved(holds), sa = a.shape(), sb = b.shape()](const Tensor& dy, Needs need) -> Grads {
                  return {need[0] ? sum_to(binary<Keep>(holds, dy), sa) : Tensor(),
                          need[1] ? sum_to(binary<Drop>(holds, dy), sb) : Tensor()};
                });
}

namespace {
// op(a, b) for a scalar b. With bf16 it is computed in f32, so that b is not rounded, only the result.
template <class Op>
Tensor with_number(const Tensor& a, double b, Op op) {
  if (a.dtype() != DType::kBf16) return op(a, full({}, b, options_of(a)));
  const Tensor wide = cast(a, DType::kF32);
  return cast(op(wide, full({}, b, options_of(wide))), DType::kBf16);
}
using Binary = Tensor (*)(const Tensor&, const Tensor&);
}  // namespace

Tensor add(const Tensor& a, double b) { return with_number(a, b, Binary(add)); }
Tensor sub(const Tensor& a, double b) { return with_number(a, b, Binary(sub)); }
Tensor sub(double a, const Tensor& b) {
  return with_number(b, a, [](const Tensor& y, const Tensor& number) { return sub(number, y); });
}
Tensor mul(const Tensor& a, double b) { return with_number(a, b, Binary(mul)); }
Tensor div(const Tensor& a, double b) { return with_number(a, b, Binary(div)); }
Tensor div(double a, const Tensor& b) {
  return with_number(b, a, [](const Tensor& y, const Tensor& number) { return div(number, y); });
}
Tensor maximum(const Tensor& a, double b) { return with_number(a, b, Binary(maximum)); }
Tensor minimum(const Tensor& a, double b) { return with_number(a, b, Binary(minimum)); }

namespace {
Tensor compare_with(const Tensor& a, double b, Binary op) {
  if (is_floating(a.dtype())) return op(a, full({}, b, options_of(a)));
  const Tensor wide = cast(a, DType::kF64);
  return cast(op(wide, full({}, b, options_of(wide))), DType::kF32);
}
}  // namespace

Tensor eq(const Tensor& a, double b) { return compare_with(a, b, eq); }
Tensor ne(const Tensor& a, double b) { return compare_with(a, b, ne); }
Tensor gt(const Tensor& a, double b) { return compare_with(a, b, gt); }
Tensor ge(const Tensor& a, double b) { return compare_with(a, b, ge); }
Tensor lt(const Tensor& a, double b) { return compare_with(a, b, lt); }
Tensor le(const Tensor& a, double b) { return compare_with(a, b, le); }
Tensor where(const Tensor& condition, const Tensor& a, double b) {
  return where(condition, a, full({}, b, options_of(a)));
}
Tensor where(const Tensor& condition, double a, const Tensor& b) {
  return where(condition, full({}, a, options_of(b)), b);
}

Tensor pow(const Tensor& x, double exponent) {
  return with_number(x, exponent, [exponent](const Tensor& a, const Tensor& number) {
    return record("pow", binary<Pow>(a, number), {a}, [a = Saved(a), exponent](const Tensor& dy, Needs) -> Grads {
      if (exponent == 0) return {zeros_like(dy)};  // at 0 the formula gives 0⁻¹ · 0 = NaN
      return {mul(dy, mul(pow(a, exponent - 1), exponent))};
    });
  });
}

Tensor pow(double base, const Tensor& exponent) {
  return with_number(exponent, base, [](const Tensor& e, const Tensor& number) { return pow(number, e); });
}

Tensor pow(const Tensor& x, const Tensor& exponent) {
  if (x.dtype() == DType::kBf16 &&
      exponent.dtype() == DType::kBf16)  // exponent − 1 in the gradient must not be rounded
    return cast(pow(cast(x, DType::kF32), cast(exponent, DType::kF32)), DType::kBf16);
  Tensor y = binary<Pow>(x, exponent);
  const Saved for_exponent = exponent.requires_grad() ? Saved(y) : Saved();
  return record("pow", y, {x, exponent},
                [x = Saved(x), exponent = Saved(exponent), y = for_exponent](const Tensor& dy, Needs need) -> Grads {
                  Grads grads(2);
                  // 0 where y is constant and the formula may give 0 · ∞: x⁰, and 0 to a non-negative power.
                  if (need[0])
                    grads[0] =
                        sum_to(where(exponent, mul(dy, mul(exponent, pow(x, sub(exponent, 1)))), 0.0), x->shape());
                  if (need[1]) {
                    const Tensor is_constant = mul(eq(x, 0), ge(exponent, 0));
                    grads[1] = sum_to(where(is_constant, 0.0, mul(dy, mul(y, log(x)))), exponent->shape());
                  }
                  return grads;
                });
}

Tensor clamp(const Tensor& x, double low, double high) {
  check(low <= high, "[clamp] expected low <= high, got ", low, " and ", high);
  const Tensor y = minimum(maximum(x.detach(), low), high);
  if (!x.requires_grad() || !grad_enabled()) return record("clamp", y, {x}, {});
  // The gradient is 0 where x equals a bound, as in PyTorch.
  Tensor inside = eq(x, y);
  for (const double bound : {low, high})
    if (std::isfinite(bound)) inside = inside * (1 - eq(x, full({}, bound, options_of(x))));
  return record("clamp", y, {x}, [inside](const Tensor& dy, Needs) -> Grads { return {mul(dy, inside)}; });
}

Tensor cast(const Tensor& x, DType dtype) {
  if (x.dtype() == dtype) return x;
  Tensor y = empty(x.shape(), {dtype, x.device()});
  dispatch(x, [&]<class K>() { K::cast(y, x); });
  if (!is_floating(dtype)) return y;
  return record("cast", y, {x}, [from = x.dtype()](const Tensor& dy, Needs) -> Grads { return {cast(dy, from)}; });
}

Tensor dropout(const Tensor& x, double p, Generator& generator, DropoutPart part) {
  check_floating("dropout", x);
  check(p >= 0 && p < 1, "[dropout] expected a probability in [0, 1), got ", p);
  if (p == 0) return x;
  check_one_device("dropout", {{"x", x}, {"the generator", generator.position}});
  Tensor y = empty_like(x);
  Tensor mask = empty(x.shape(), {DType::kU8, x.device()});
  Generator from = drawn_again(generator);
  dispatch(x, [&]<class K>() { K::dropout(y, mask, x, p, from, {(part.before + 3) / 4, (part.all + 3) / 4}); });
  return record("dropout", y, {x}, [mask, p](const Tensor& dy, Needs) -> Grads {
    Tensor dx = empty_like(dy);
    dispatch(dy, [&]<class K>() { K::dropout_gradient(dx, dy, mask, p); });
    return {dx};
  });
}

}  // namespace fulcrum
