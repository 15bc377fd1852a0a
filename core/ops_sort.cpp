// Sorting: a kernel computes the indices, and gather() the values; so gather's gradient is sort's.
#include <fulcrum/core/kernels.h>
#include <fulcrum/core/ops.h>

namespace fulcrum {

namespace {

Tensor first_in_order(const Tensor& x, int d, int64_t kept, bool descending) {
  const int last = x.dim() - 1;
  const Tensor rows = d == last ? x.detach() : transpose(x.detach(), d, last);
  Shape shape = rows.shape();
  shape.set(last, kept);
  Tensor index = empty(shape, {DType::kI64, x.device()});
  dispatch(x, [&]<class K>() { K::argsort(index, rows, descending); });
  return d == last ? index : transpose(index, d, last);
}

}  // namespace

Tensor argsort(const Tensor& x, int dim, bool descending) {
  const int d = x.shape().index(dim);
  return first_in_order(x, d, x.size(d), descending);
}

Sorted sort(const Tensor& x, int dim, bool descending) {
  const Tensor indices = argsort(x, dim, descending);
  return {gather(x, dim, indices), indices};
}

Sorted topk(const Tensor& x, int64_t k, int dim, bool largest) {
  const int d = x.shape().index(dim);
  check(k >= 1 && k <= x.size(d), "[topk] expected k in [1, ", x.size(d), "], got ", k);
  const Tensor indices = first_in_order(x, d, k, /*descending=*/largest);
  return {gather(x, d, indices), indices};
}

}  // namespace fulcrum
