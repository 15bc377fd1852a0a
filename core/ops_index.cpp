// Operations that read or write at indices.
#include <fulcrum/core/arena.h>
#include <fulcrum/core/autograd.h>
#include <fulcrum/core/kernels.h>
#include <fulcrum/core/ops.h>
#include <fulcrum/core/ops_checks.h>

namespace fulcrum {

namespace {

IndexLoop loop_over(const Shape& x, int d, int64_t count, bool slices) {
  IndexLoop loop{1, x[d], count, 1, slices};
  for (int i = 0; i < x.dim(); i++)
    if (i != d) (i < d ? loop.outer : loop.inner) *= x[i];
  return loop;
}

void check_index(const char* op, const Tensor& x, const Tensor& index, int64_t size) {
  check(index.dtype() == DType::kI64, "[", op, "] expected indices i64, got ", index.dtype(), " ", index.shape());
  check_one_device(op, {{"x", x}, {"the indices", index}});
  check_indices(op, index, size);
}

Tensor pick(const char* op, const Tensor& x, int d, const Tensor& index, bool slices) {
  check_index(op, x, index, x.size(d));
  const IndexLoop loop = loop_over(x.shape(), d, slices ? index.numel() : index.size(d), slices);
  Shape shape = x.shape();
  shape.set(d, loop.count);
  Tensor y = empty(shape, options_of(x));
  dispatch(x, [&]<class K>() { K::gather(y, x, index, loop); });
  const DType wanted = gradient_dtype(x);
  return record(op, y, {x}, [from = x.shape(), index = Saved(index), loop, wanted](const Tensor& dy, Needs) -> Grads {
    const DType dtype = dy.dtype() == DType::kBf16 ? DType::kF32 : dy.dtype();  // sums of bf16 are kept in f32
    Tensor dx = zeros(from, {dtype, dy.device()});
    dispatch(dx, [&]<class K>() { K::scatter_add(dx, cast(dy, dtype), index, loop); });
    return {cast(dx, wanted)};
  });
}

}  // namespace

Tensor gather(const Tensor& x, int dim, const Tensor& index) {
  const int d = x.shape().index(dim);
  check(index.dim() == x.dim() && index.shape().without(d) == x.shape().without(d),
        "[gather] expected indices of the shape of x but for dimension ", d, ", got ", index.shape(), " for ",
        x.shape());
  return pick("gather", x, d, index, /*slices=*/false);
}

Tensor index_select(const Tensor& x, int dim, const Tensor& index) {
  check(index.dim() == 1, "[index_select] expected indices [K], got ", index.shape());
  return pick("index_select", x, x.shape().index(dim), index, /*slices=*/true);
}

void index_copy_(Tensor& x, int dim, const Tensor& index, const Tensor& source) {
  const int d = x.shape().index(dim);
  check(!grad_enabled() || !(x.requires_grad() || source.requires_grad()),
        "[index_copy_] what is written in place has no gradient; write within NoGrad (no_grad())");
  check(index.dim() == 1, "[index_copy_] expected indices [K], got ", index.shape());
  check(source.dtype() == x.dtype() && source.dim() == x.dim() && source.size(d) == index.numel() &&
            source.shape().without(d) == x.shape().without(d),
        "[index_copy_] expected ", index.numel(), " slices like those of ", x.dtype(), " ", x.shape(), ", got ",
        source.dtype(), " ", source.shape());
  check_index("index_copy_", x, index, x.size(d));
  check_one_device("index_copy_", {{"x", x}, {"source", source}});
  const IndexLoop loop = loop_over(x.shape(), d, index.numel(), /*slices=*/true);
  const Tensor from = source.storage() == x.storage() ? source.detach().clone() : source;  // source may be part of x
  dispatch(x, [&]<class K>() { K::scatter(x, from, index, loop); });
  x.mark_written();
  refresh_twin(x);
}

Tensor one_hot(const Tensor& labels, int64_t classes) {
  check(labels.dtype() == DType::kI64, "[one_hot] expected labels i64, got ", labels.dtype(), " ", labels.shape());
  check(classes > 0, "[one_hot] expected at least one class, got ", classes);
  check_indices("one_hot", labels, classes);
  Shape shape = labels.shape();
  shape.push_back(classes);
  Tensor y = zeros(shape, {DType::kF32, labels.device()});
  const IndexLoop loop{labels.numel(), classes, 1, 1, /*slices=*/false};
  dispatch(y, [&]<class K>() { K::scatter(y, ones(labels.shape(), options_of(y)), labels, loop); });
  return y;
}

}  // namespace fulcrum
