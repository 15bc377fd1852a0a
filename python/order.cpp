// Sorting, as functions and as methods.
#include "bindings.h"

namespace fulcrum::python {

namespace {

using Sorting = std::pair<Tensor, Tensor>;

Sorting sorted(const Tensor& x, int dim, bool descending) {
  auto [values, indices] = sort(x, dim, descending);
  return {values, indices};
}

Sorting first_sorted(const Tensor& x, int64_t k, int dim, bool largest) {
  auto [values, indices] = topk(x, k, dim, largest);
  return {values, indices};
}

constexpr const char* kSort =
    "values, indices: the elements along `dim` in order, and where they stood, i64. Equal elements keep their order, NaN "
    "counts as the largest.";
constexpr const char* kTopk =
    "values, indices of the k largest elements along `dim`, or smallest, the first of them first.";
constexpr const char* kArgsort = "Where the elements along `dim` stand in order: i64; no gradient.";

}  // namespace

void bind_order(nb::module_& m) {
  m.def("sort", &sorted, "x"_a, "dim"_a = -1, "descending"_a = false, Unlocked(), kSort);
  m.def("topk", &first_sorted, "x"_a, "k"_a, "dim"_a = -1, "largest"_a = true, Unlocked(), kTopk);
  m.def("argsort", &argsort, "x"_a, "dim"_a = -1, "descending"_a = false, Unlocked(), kArgsort);
}

void bind_order(nb::class_<Tensor>& tensor) {
  tensor.def("sort", &sorted, "dim"_a = -1, "descending"_a = false, Unlocked(), kSort)
      .def("topk", &first_sorted, "k"_a, "dim"_a = -1, "largest"_a = true, Unlocked(), kTopk)
      .def("argsort", &argsort, "dim"_a = -1, "descending"_a = false, Unlocked(), kArgsort);
}

}  // namespace fulcrum::python
