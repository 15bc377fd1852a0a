// x[key] and x[key] = numbers, as in NumPy and PyTorch: integers, slices, None, Ellipsis, and one tensor, array or list
// of indices. The key is first read into steps, with Python's lock held; then the operations run without it.
#include "bindings.h"

#include <algorithm>
#include <span>

#include <fulcrum/core/arena.h>
#include <fulcrum/core/autograd.h>

namespace fulcrum::python {

namespace {

constexpr const char* kMask =
    "a mask; F.where(mask, a, b) chooses between elements, numpy.flatnonzero(mask) gives the indices of a mask";

// What happens to a dimension: take one row of it, a range of rows, or rows by index; or insert a new one of size 1.
struct Step {
  enum class Kind { kRow, kRange, kIndices, kNew } kind;
  int64_t begin = 0, end = 0;  // a row has only begin
  Tensor indices = {};         // i64, of any shape
};

int64_t in_range(int64_t i, int64_t size, const Tensor& x) {
  if (i < -size || i >= size)  // IndexError ends a for loop over x
    throw nb::index_error(
        concat_text("index ", i, " of a dimension of ", size, " in a tensor of shape ", x.shape()).c_str());
  return i < 0 ? i + size : i;
}

void check_kind(const char* op, const Tensor& indices) {
  check(indices.dtype() == DType::kI64 || indices.dtype() == DType::kI32, "[", op, "] expected indices i64, got ",
        indices.dtype(), " ", indices.shape(), ", which may be ", kMask);
}

// The indices on the device of x, with negative ones counted from the end. Indices that are on a GPU are returned as
// they are: looking at them would wait for the GPU.
Tensor counted_from_the_start(const char* op, const Tensor& given, int64_t size, const Tensor& x) {
  check_kind(op, given);
  const Tensor wide = given.to(DType::kI64);
  if (!wide.device().is_cpu()) return wide;
  Tensor indices = empty_like(wide);
  const std::span<const int64_t> all(wide.data<int64_t>(), static_cast<size_t>(wide.numel()));
  std::ranges::transform(all, indices.data<int64_t>(), [&](int64_t i) { return in_range(i, size, x); });
  return indices.to(x.device());
}

// The indices in a list or an array.
Tensor indices_of(const char* op, const nb::handle& item) {
  const nb::object array = nb::module_::import_("numpy").attr("asarray")(item), dtype = array.attr("dtype");
  const auto kind = nb::cast<std::string>(dtype.attr("kind"));
  check(nb::cast<int64_t>(array.attr("size")) > 0, "[", op, "] expected at least one index, got none");
  check(kind != "b", "[", op, "] expected indices, got ", kMask);
  check(kind == "i" || kind == "u", "[", op, "] expected integers as indices, got ", nb::str(dtype).c_str());
  return nb::cast<Tensor>(nb::module_::import_("fulcrum").attr("tensor")(array.attr("astype")("int64")));
}

// The step for an item of the key, other than None or Ellipsis, that applies to a dimension of x of this size.
Step step_of(const char* op, const Tensor& x, const nb::handle& item, int64_t size) {
  using Kind = Step::Kind;
  check(!nb::isinstance<nb::bool_>(item), "[", op, "] expected indices, got ", kMask);
  if (nb::isinstance<nb::slice>(item)) {
    const auto [start, stop, step, length] = nb::cast<nb::slice>(item).compute(static_cast<size_t>(size));
    check(step == 1 && length > 0, "[", op, "] expected a slice with a step of 1 and at least one row, got ", length,
          " with a step of ", step, "; list(range(…)) as a key takes any step");
    return {Kind::kRange, start, start + static_cast<int64_t>(length)};
  }
  if (nb::isinstance<Tensor>(item)) {
    const auto indices = nb::cast<Tensor>(item);
    check_kind(op, indices);
    if (indices.dim() > 0) return {Kind::kIndices, 0, 0, counted_from_the_start(op, indices, size, x)};
    return {Kind::kRow, in_range(static_cast<int64_t>(indices.item()), size, x)};
  }
  const bool number = PyIndex_Check(item.ptr()) && nb::cast<int>(nb::getattr(item, "ndim", nb::int_(0))) == 0;
  const bool several = nb::isinstance<nb::list>(item) || nb::isinstance<nb::tuple>(item);
  if (several || (!number && nb::hasattr(item, "__array__")))
    return {Kind::kIndices, 0, 0, counted_from_the_start(op, indices_of(op, item), size, x)};
  check(number, "[", op, "] expected integers, slices, None, Ellipsis or indices, got ", nb::inst_name(item).c_str());
  const Py_ssize_t row = PyNumber_AsSsize_t(item.ptr(), PyExc_IndexError);
  if (row == -1 && PyErr_Occurred()) throw nb::python_error();
  return {Kind::kRow, in_range(row, size, x)};
}

std::vector<Step> steps_of(const char* op, const Tensor& x, const nb::object& key) {
  const nb::tuple items = nb::isinstance<nb::tuple>(key) ? nb::cast<nb::tuple>(key) : nb::make_tuple(key);
  const auto is_ellipsis = [](const nb::handle& item) { return item.ptr() == Py_Ellipsis; };
  const auto ellipses = std::count_if(items.begin(), items.end(), is_ellipsis);
  const auto used = std::count_if(items.begin(), items.end(),
                                  [&](const nb::handle& item) { return !item.is_none() && !is_ellipsis(item); });
  check(used <= x.dim(), "[", op, "] expected at most ", x.dim(), " indices for a tensor of shape ", x.shape(),
        ", got ", used);
  check(ellipses <= 1, "[", op, "] expected one Ellipsis at most, got ", ellipses);
  std::vector<Step> steps;
  int dim = 0, indexed = 0;
  const auto pass = [&](int64_t dims) {
    for (; dims > 0; dims--) steps.push_back({Step::Kind::kRange, 0, x.size(dim++)});
  };
  for (const nb::handle item : items) {
    if (is_ellipsis(item)) {
      pass(x.dim() - used);
    } else if (item.is_none()) {
      steps.push_back({Step::Kind::kNew});
    } else {
      const int64_t size = x.size(dim++);
      steps.push_back(step_of(op, x, item, size));
      indexed += steps.back().kind == Step::Kind::kIndices;
    }
  }
  if (ellipses == 0) pass(x.dim() - used);
  check(indexed <= 1, "[", op, "] expected one tensor or list of indices, got ", indexed,
        "; F.gather takes an index for each element");
  return steps;
}

Tensor without(const Tensor& x, int dim) { return x.reshape(x.shape().without(dim)); }

// x with `removed` dimensions from `dim` on replaced by the dimensions `by`.
Tensor replaced(const Tensor& x, int dim, int removed, const Shape& by) {
  Shape shape;
  for (int i = 0; i < dim; i++) shape.push_back(x.size(i));
  for (const int64_t size : by.sizes()) shape.push_back(size);
  for (int i = dim + removed; i < x.dim(); i++) shape.push_back(x.size(i));
  return x.reshape(shape);
}

Tensor get(const Tensor& x, const nb::object& key) {
  int64_t row = 0;  // fast path without steps, for loops over rows
  if (x.dim() > 0 && PyLong_CheckExact(key.ptr()) && nb::try_cast(key, row)) {
    row = in_range(row, x.size(0), x);
    return without(slice(x, 0, row, row + 1), 0);
  }
  const std::vector<Step> steps = steps_of("getitem", x, key);
  const nb::gil_scoped_release release;
  Tensor y = x;
  int dim = 0;  // current dimension of y
  for (const auto& [kind, begin, end, indices] : steps) {
    if (kind == Step::Kind::kRow) {
      y = without(slice(y, dim, begin, begin + 1), dim);
    } else if (kind == Step::Kind::kNew) {
      y = replaced(y, dim++, 0, {1});
    } else if (kind == Step::Kind::kIndices) {
      y = index_select(y, dim, indices.reshape({-1}));
      if (indices.dim() > 1) y = replaced(y, dim, 1, indices.shape());
      dim += indices.dim();
    } else {
      if (begin > 0 || end < y.size(dim)) y = slice(y, dim, begin, end);
      dim++;
    }
  }
  return y;
}

// Where to write x[key]: into a view of x, or into slices of one dimension of that view.
struct Target {
  Tensor view;
  int dim = 0;         // of `slices` in the view
  Tensor slices = {};  // i64 [K], or undefined: everywhere
  Shape dims = {};     // the source's dimensions in the place of `dim`
};

Tensor range(int64_t begin, int64_t end, const Device& device) {
  std::vector<int64_t> numbers;
  for (int64_t i = begin; i < end; i++) numbers.push_back(i);
  return from_vector({end - begin}, numbers, device);
}

Target target_of(const Tensor& x, const std::vector<Step>& steps) {
  Target target{x};
  int dim = 0;
  for (const auto& [kind, begin, end, indices] : steps) {
    check(kind != Step::Kind::kNew, "[setitem] expected no None in the key");
    const bool whole = kind == Step::Kind::kRange && begin == 0 && end == target.view.size(dim);
    if (!whole && dim == 0 && kind != Step::Kind::kIndices) {
      target.view = target.view.slice(begin, kind == Step::Kind::kRow ? begin + 1 : end);
      if (kind == Step::Kind::kRow) target.view = without(target.view, 0);
      else dim++;
      continue;
    }
    if (!whole) {
      check(!target.slices,
            "[setitem] expected a key that takes a part of one dimension, behind what it takes of the "
            "first; write in two steps: y = x[rows], y[…] = …, x[rows] = y");
      target.dim = dim;
      if (kind == Step::Kind::kIndices) target.slices = indices.reshape({-1}), target.dims = indices.shape();
      else if (kind == Step::Kind::kRow) target.slices = range(begin, begin + 1, x.device());
      else target.slices = range(begin, end, x.device()), target.dims = {end - begin};
    }
    dim++;
  }
  return target;
}

// x[key] = numbers: a tensor of the same shape, an array, or one number for all.
void set(Tensor& x, const nb::object& key, const nb::object& numbers) {
  const std::vector<Step> steps = steps_of("setitem", x, key);
  const Operand source = operand_of(numbers);
  check(bool(source), "[setitem] expected a tensor, an array or a number, got ", nb::inst_name(numbers).c_str());
  if (source.number) check_fits("setitem", *source.number, x.dtype());
  const nb::gil_scoped_release release;
  // A leaf is written as copy_ does. The view of a tensor with a history has one, too, and is refused.
  const bool is_leaf = x.requires_grad() && x.node()->is_leaf();
  Target target = target_of(is_leaf ? x.detach() : x, steps);
  const TensorOptions options = options_of(x);
  if (!target.slices) {
    write(target.view, source.tensor ? *source.tensor : full(target.view.shape(), *source.number, options));
  } else {
    Shape flat = target.view.shape(), expected;
    flat.set(target.dim, target.slices.numel());
    for (int i = 0; i < flat.dim(); i++) {
      if (i != target.dim) expected.push_back(flat[i]);
      else
        for (const int64_t size : target.dims.sizes()) expected.push_back(size);
    }
    const Tensor given =
        source.tensor ? source.tensor->to(options.dtype).to(options.device) : full(expected, *source.number, options);
    check(given.shape() == expected, "[setitem] expected numbers of shape ", expected, ", got ", given.shape());
    index_copy_(target.view, target.dim, target.slices, given.reshape(flat));
  }
  refresh_twin(x);
}

}  // namespace

void bind_indexing(nb::class_<Tensor>& tensor) {
  tensor
      .def(
          "__getitem__", &get, "key"_a.none(),
          "x[key], as in NumPy: integers, slices with a step of 1, None, Ellipsis, and one i64 tensor, array or list of "
          "indices. Rows of the leading dimension are views, everything else is a copy. Differentiable.")
      .def("__setitem__", &set, "key"_a.none(), "numbers"_a,
           "x[key] = numbers. The key has integers and slices of the leading dimensions, then may select a part of "
           "one further dimension by integer, slice or indices.");
}

}  // namespace fulcrum::python
