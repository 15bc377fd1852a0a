// Operations that move or copy data without changing values.
#include <numeric>
#include <utility>

#include <fulcrum/core/autograd.h>
#include <fulcrum/core/kernels.h>
#include <fulcrum/core/ops.h>
#include <fulcrum/core/ops_checks.h>

namespace fulcrum {

namespace {

void row_major_strides(const Shape& shape, int64_t* strides) {
  int64_t stride = 1;
  for (int i = shape.dim() - 1; i >= 0; i--) {
    strides[i] = stride;
    stride *= shape[i];
  }
}

// The copy of a box of `extent` between two row-major tensors, from x_start in x to y_start in y.
StridedCopy box(const Shape& extent, const Shape& x, const std::vector<int64_t>& x_start, const Shape& y,
                const std::vector<int64_t>& y_start) {
  StridedCopy c;
  c.extent = extent;
  row_major_strides(x, c.x_strides);
  row_major_strides(y, c.y_strides);
  for (int i = 0; i < extent.dim(); i++) {
    c.x_offset += x_start[static_cast<size_t>(i)] * c.x_strides[i];
    c.y_offset += y_start[static_cast<size_t>(i)] * c.y_strides[i];
  }
  return c;
}

void copy(Tensor& y, const Tensor& x, const StridedCopy& c) {
  dispatch(x, [&]<class K>() { K::copy_strided(y, x, c); });
}

Shape resolve(const Tensor& x, Shape shape) {
  int unknown = -1;
  int64_t known = 1;
  for (int i = 0; i < shape.dim(); i++) {
    if (shape[i] == -1) {
      check(unknown < 0, "[reshape] expected at most one size of -1, got ", shape);
      unknown = i;
    } else {
      check(shape[i] > 0, "[reshape] expected sizes of at least 1, or one -1, got ", shape);
      check(!__builtin_mul_overflow(known, shape[i], &known), "[reshape] expected ", x.numel(), " elements as in ",
            x.shape(), ", got ", shape);
    }
  }
  if (unknown >= 0) shape.set(unknown, x.numel() / known);
  check(shape.numel() == x.numel(), "[reshape] expected ", x.numel(), " elements as in ", x.shape(), ", got ", shape);
  return shape;
}

}  // namespace

Tensor reshape(const Tensor& x, Shape shape) {
  shape = resolve(x, shape);
  if (shape == x.shape()) return x;
  Tensor y(x.storage(), x.offset(), shape, x.dtype());
  return record("reshape", y, {x},
                [from = x.shape()](const Tensor& dy, Needs) -> Grads { return {reshape(dy, from)}; });
}

Tensor slice(const Tensor& x, int dim, int64_t begin, int64_t end) {
  const int d = x.shape().index(dim);
  check(0 <= begin && begin < end && end <= x.size(d), "[slice] expected 0 <= begin < end <= ", x.size(d), ", got ",
        begin, " and ", end, " for ", x.shape());
  Shape shape = x.shape();
  shape.set(d, end - begin);
  std::vector<int64_t> start(static_cast<size_t>(x.dim()), 0), zero = start;
  start[static_cast<size_t>(d)] = begin;
  Tensor y;
  if (d == 0) {
    const int64_t row = x.numel() / x.size(0);
    y = Tensor(x.storage(), x.offset() + static_cast<size_t>(begin * row) * size_of(x.dtype()), shape, x.dtype());
  } else {
    y = empty(shape, options_of(x));
    copy(y, x, box(shape, x.shape(), start, shape, zero));
  }
  return record("slice", y, {x}, [from = x.shape(), start, zero](const Tensor& dy, Needs) -> Grads {
    Tensor dx = zeros(from, options_of(dy));
    copy(dx, dy, box(dy.shape(), dy.shape(), zero, from, start));
    return {dx};
  });
}

Tensor concat(const std::vector<Tensor>& parts, int dim) {
  check(!parts.empty(), "[concat] expected at least one tensor");
  const int d = parts[0].shape().index(dim);
  Shape shape = parts[0].shape();
  int64_t total = 0;
  for (const Tensor& p : parts) {
    check(p.dim() == shape.dim() && p.shape().without(d) == shape.without(d) && p.dtype() == parts[0].dtype(),
          "[concat] expected shapes equal but for dimension ", d, " and one dtype, got ", parts[0].shape(), " ",
          parts[0].dtype(), " and ", p.shape(), " ", p.dtype());
    check_one_device("concat", {{"the first tensor", parts[0]}, {"another", p}});
    total += p.size(d);
  }
  shape.set(d, total);
  Tensor y = empty(shape, options_of(parts[0]));
  const std::vector<int64_t> zero(static_cast<size_t>(shape.dim()), 0);
  std::vector<int64_t> at = zero, sizes;
  for (const Tensor& p : parts) {
    copy(y, p, box(p.shape(), p.shape(), zero, shape, at));
    at[static_cast<size_t>(d)] += p.size(d);
    sizes.push_back(p.size(d));
  }
  return record("concat", y, parts, [sizes, d](const Tensor& dy, Needs) -> Grads {
    Grads grads;
    int64_t begin = 0;
    for (int64_t size : sizes) {
      grads.push_back(slice(dy, d, begin, begin + size));
      begin += size;
    }
    return grads;
  });
}

Tensor stack(const std::vector<Tensor>& parts, int dim) {
  check(!parts.empty(), "[stack] expected at least one tensor");
  Shape shape;  // that of each part, with a dimension of size 1
  const Shape& part = parts[0].shape();
  const int rank = part.dim() + 1, at = dim < 0 ? dim + rank : dim;
  check(at >= 0 && at < rank, "[stack] expected a dimension in [", -rank, ", ", rank, "), got ", dim);
  for (int i = 0; i < rank; i++) shape.push_back(i == at ? 1 : part[i < at ? i : i - 1]);
  std::vector<Tensor> slices;
  for (const Tensor& p : parts) {
    check(p.shape() == part, "[stack] expected one shape, got ", part, " and ", p.shape());
    check_one_device("stack", {{"the first tensor", parts[0]}, {"another", p}});
    slices.push_back(reshape(p, shape));
  }
  return concat(slices, at);
}

namespace {
Tensor permuted(const Tensor& x, const std::vector<int>& dims) {
  StridedCopy c;
  int64_t strides[Shape::kMaxDims];
  row_major_strides(x.shape(), strides);
  for (size_t i = 0; i < dims.size(); i++) {
    c.extent.push_back(x.size(dims[i]));
    c.x_strides[i] = strides[dims[i]];
  }
  row_major_strides(c.extent, c.y_strides);
  Tensor y = empty(c.extent, options_of(x));
  copy(y, x, c);
  return y;
}
}  // namespace

Tensor permute(const Tensor& x, const std::vector<int>& dims) {
  check(std::ssize(dims) == x.dim(), "[permute] expected ", x.dim(), " dimensions for ", x.shape(), ", got ",
        dims.size());
  std::vector<int> from, back(dims.size(), -1);
  for (const int d : dims) {
    from.push_back(x.shape().index(d));
    int& place = back[static_cast<size_t>(from.back())];
    check(place < 0, "[permute] expected each dimension once, got ", d, " twice");
    place = static_cast<int>(from.size()) - 1;
  }
  return record("permute", permuted(x, from), {x},
                [back](const Tensor& dy, Needs) -> Grads { return {permuted(dy, back)}; });
}

Tensor transpose(const Tensor& x, int dim0, int dim1) {
  const int a = x.shape().index(dim0), b = x.shape().index(dim1);
  std::vector<int> dims(static_cast<size_t>(x.dim()));
  std::iota(dims.begin(), dims.end(), 0);
  std::swap(dims[static_cast<size_t>(a)], dims[static_cast<size_t>(b)]);
  const Tensor y = permuted(x, dims);
  return record(
      "transpose", y, {x}, [a, b](const Tensor& dy, Needs) -> Grads { return {transpose(dy, a, b)}; },
      OpDetail(std::pair(a, b)));
}

Tensor pad(const Tensor& x, const std::vector<int64_t>& before, const std::vector<int64_t>& after) {
  const auto rank = static_cast<size_t>(x.dim());
  check(before.size() == rank && after.size() == rank, "[pad] expected ", rank, " sizes before and after for ",
        x.shape(), ", got ", before.size(), " and ", after.size());
  Shape shape = x.shape();
  for (size_t i = 0; i < rank; i++) {
    check(before[i] >= 0 && after[i] >= 0, "[pad] expected sizes of at least 0, got ", before[i], " and ", after[i],
          " in dimension ", i);
    shape.set(static_cast<int>(i), x.size(static_cast<int>(i)) + before[i] + after[i]);
  }
  const std::vector<int64_t> zero(rank, 0);
  Tensor y = zeros(shape, options_of(x));
  copy(y, x, box(x.shape(), x.shape(), zero, shape, before));
  return record("pad", y, {x}, [from = x.shape(), zero, before](const Tensor& dy, Needs) -> Grads {
    Tensor dx = empty(from, options_of(dy));
    copy(dx, dy, box(from, dy.shape(), before, from, zero));
    return {dx};
  });
}

Tensor Tensor::reshape(Shape shape) const { return fulcrum::reshape(*this, shape); }
Tensor Tensor::slice(int64_t begin, int64_t end) const { return fulcrum::slice(*this, 0, begin, end); }

}  // namespace fulcrum
