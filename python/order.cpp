// Sorting, as functions and as methods.
#include "bindings.h"

namespace fulcrum::python {

namespace {

// As the Python named tuple fulcrum.functional.Sorted.
nb::object named(const Sorted& s) {
  return nb::module_::import_("fulcrum.functional").attr("Sorted")(s.values, s.indices);
}

nb::object sorted(const Tensor& x, int dim, bool descending) {
  Sorted s;
  {
    const nb::gil_scoped_release release;
    s = sort(x, dim, descending);
  }
  return named(s);
}

nb::object first_sorted(const Tensor& x, int64_t k, int dim, bool largest) {
  Sorted s;
  {
    const nb::gil_scoped_release release;
    s = topk(x, k, dim, largest);
  }
  return named(s);
}

constexpr const char* kSort =
    "values, indices: the elements along `dim` in order, and their original positions, i64. Equal elements keep "
    "their order, NaN counts as the largest.";
constexpr const char* kTopk = "values, indices of the k largest (or smallest) elements along `dim`, in that order.";
constexpr const char* kArgsort = "The indices that sort the elements along `dim`: i64; no gradient.";

}  // namespace

void bind_order(nb::module_& m) {
  m.def("sort", &sorted, "x"_a, "dim"_a = -1, "descending"_a = false,
        nb::sig("def sort(x: Tensor, dim: int = -1, descending: bool = False) -> tuple[Tensor, Tensor]"), kSort);
  m.def("topk", &first_sorted, "x"_a, "k"_a, "dim"_a = -1, "largest"_a = true,
        nb::sig("def topk(x: Tensor, k: int, dim: int = -1, largest: bool = True) -> tuple[Tensor, Tensor]"), kTopk);
  m.def("argsort", &argsort, "x"_a, "dim"_a = -1, "descending"_a = false, Unlocked(), kArgsort);
}

void bind_order(nb::class_<Tensor>& tensor) {
  tensor
      .def("sort", &sorted, "dim"_a = -1, "descending"_a = false,
           nb::sig("def sort(self, dim: int = -1, descending: bool = False) -> tuple[Tensor, Tensor]"), kSort)
      .def("topk", &first_sorted, "k"_a, "dim"_a = -1, "largest"_a = true,
           nb::sig("def topk(self, k: int, dim: int = -1, largest: bool = True) -> tuple[Tensor, Tensor]"), kTopk)
      .def("argsort", &argsort, "dim"_a = -1, "descending"_a = false, Unlocked(), kArgsort);
}

}  // namespace fulcrum::python
