// Sums, means, maxima, and softmax.
#include <cmath>

#include <fulcrum/core/autograd.h>
#include <fulcrum/core/functors.h>
#include <fulcrum/core/kernels.h>
#include <fulcrum/core/ops.h>

namespace fulcrum {

namespace {

std::vector<int> all_dims(const Tensor& x) {
  std::vector<int> dims;
  for (int i = 0; i < x.dim(); i++) dims.push_back(i);
  return dims;
}

struct Reduced {
  Shape kept;     // rank of x, size 1 where reduced
  Shape dropped;  // without the reduced dimensions
  int64_t count;  // elements reduced into one
};

Reduced reduced(const char* op, const Tensor& x, const std::vector<int>& dims) {
  check(is_floating(x.dtype()), "[", op, "] expected a floating dtype, got ", x.dtype());
  bool reduce[Shape::kMaxDims] = {};
  for (int d : dims) {
    bool& is_reduced = reduce[x.shape().index(d)];
    check(!is_reduced, "[", op, "] expected each dimension once, got ", d, " twice");
    is_reduced = true;
  }
  Reduced r{x.shape(), {}, 1};
  for (int i = 0; i < x.dim(); i++) {
    if (reduce[i]) {
      r.kept.set(i, 1);
      r.count *= x.size(i);
    } else {
      r.dropped.push_back(x.size(i));
    }
  }
  return r;
}

// Broadcasts g to `shape`, which has the same rank.
Tensor expand(const Tensor& g, const Shape& shape) {
  Tensor y = empty(shape, options_of(g));
  const Tensor zero = zeros({}, options_of(g));
  dispatch(g, [&]<class K>() { K::template binary<Add>(y, g, zero); });
  return y;
}

}  // namespace

Tensor sum(const Tensor& x, const std::vector<int>& dims, bool keepdim) {
  const Reduced r = reduced("sum", x, dims);
  Tensor y = empty(r.kept, options_of(x));
  dispatch(x, [&]<class K>() { K::reduce_sum(y, x); });
  y = record("sum", y, {x}, [from = x.shape()](const Tensor& dy, Needs) -> Grads { return {expand(dy, from)}; });
  return keepdim ? y : y.reshape(r.dropped);
}
Tensor sum(const Tensor& x) { return sum(x, all_dims(x)); }

Tensor mean(const Tensor& x, const std::vector<int>& dims, bool keepdim) {
  const double count = static_cast<double>(reduced("mean", x, dims).count);
  if (x.dtype() != DType::kBf16) return div(sum(x, dims, keepdim), count);
  return cast(mean(cast(x, DType::kF32), dims, keepdim), DType::kBf16);  // rounded once
}
Tensor mean(const Tensor& x) { return mean(x, all_dims(x)); }

Tensor amax(const Tensor& x, const std::vector<int>& dims, bool keepdim) {
  const Reduced r = reduced("amax", x, dims);
  Tensor y = empty(r.kept, options_of(x));
  dispatch(x, [&]<class K>() { K::reduce_max(y, x); });
  y = record("amax", y, {x}, [x = Saved(x), y = Saved(y), dims](const Tensor& dy, Needs) -> Grads {
    const Tensor winners = eq(x, y);
    return {mul(winners, div(dy, sum(winners, dims, /*keepdim=*/true)))};
  });
  return keepdim ? y : y.reshape(r.dropped);
}

Tensor amin(const Tensor& x, const std::vector<int>& dims, bool keepdim) { return neg(amax(neg(x), dims, keepdim)); }

Tensor var(const Tensor& x, const std::vector<int>& dims, double correction, bool keepdim) {
  const double rest = static_cast<double>(reduced("var", x, dims).count) - correction;
  check(rest > 0, "[var] expected more elements than the correction of ", correction, ", got ", x.shape());
  const Tensor wide = x.dtype() == DType::kBf16 ? cast(x, DType::kF32) : x;
  const Tensor apart = wide - mean(wide, dims, /*keepdim=*/true);
  return cast(sum(square(apart), dims, keepdim) / rest, x.dtype());
}

Tensor logsumexp(const Tensor& x, const std::vector<int>& dims, bool keepdim) {
  const Reduced r = reduced("logsumexp", x, dims);
  const Tensor wide = cast(x.detach(), x.dtype() == DType::kBf16 ? DType::kF32 : x.dtype());
  const Tensor top = amax(wide, dims, /*keepdim=*/true);
  const Tensor shift = where(lt(abs(top), INFINITY), top, 0);  // ∞ − ∞ would be NaN
  const Tensor log_sum = log(sum(exp(wide - shift), dims, /*keepdim=*/true)) + shift;
  const Tensor y = record("logsumexp", log_sum.to(x.dtype()), {x},
                          [wide = Saved(wide), log_sum = Saved(log_sum)](const Tensor& dy, Needs) -> Grads {
                            return {cast(mul(cast(dy, wide->dtype()), exp(sub(wide, log_sum))), dy.dtype())};
                          });
  return keepdim ? y : y.reshape(r.dropped);
}

Tensor argmax(const Tensor& x) {
  check(is_floating(x.dtype()) && x.dim() >= 1, "[argmax] expected a floating tensor with a dimension, got ", x.dtype(),
        " ", x.shape());
  Tensor y = empty(x.shape().without(-1), {DType::kI64, x.device()});
  dispatch(x, [&]<class K>() { K::argmax(y, x); });
  return y;
}

namespace {
Tensor softmax_op(const Tensor& x, bool log) {
  const char* name = log ? "log_softmax" : "softmax";
  check(is_floating(x.dtype()) && x.dim() >= 1, "[", name, "] expected a floating tensor with a dimension, got ",
        x.dtype(), " ", x.shape());
  Tensor y = empty_like(x);
  dispatch(x, [&]<class K>() { K::softmax(y, x, log); });
  return record(name, y, {x}, [y = Saved(y), log](const Tensor& dy, Needs) -> Grads {
    Tensor dx = empty_like(dy);
    dispatch(dy, [&]<class K>() { K::softmax_gradient(dx, dy, y, log); });
    return {dx};
  });
}

Tensor along(const Tensor& x, int dim, bool log) {
  const int last = x.dim() - 1, at = last < 0 ? last : x.shape().index(dim);
  return at == last ? softmax_op(x, log) : transpose(softmax_op(transpose(x, at, last), log), at, last);
}
}  // namespace

Tensor softmax(const Tensor& x, int dim) { return along(x, dim, false); }
Tensor log_softmax(const Tensor& x, int dim) { return along(x, dim, true); }

}  // namespace fulcrum
