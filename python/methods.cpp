// Methods of a tensor that fulcrum.functional also has as functions, and those that change its shape.
#include "bindings.h"

namespace fulcrum::python {

namespace {

// Accepts reshape(2, 3) as well as reshape([2, 3]), and permute likewise.
template <class Number>
std::vector<Number> numbers_of(const char* op, const nb::args& given) {
  std::vector<Number> numbers;
  nb::object all = given;
  if (given.size() == 1 && !PyIndex_Check(nb::object(given[0]).ptr())) all = given[0];
  check(nb::try_cast(all, numbers), "[", op, "] expected integers, or one list or tuple of them, got ",
        nb::repr(all).c_str());
  return numbers;
}

Tensor reshaped(const Tensor& t, const nb::args& sizes) {
  return t.reshape(Shape(numbers_of<int64_t>("reshape", sizes)));
}

Tensor matrix_transposed(const Tensor& t) {
  check(t.dim() == 2, "[T] expected a matrix, got a tensor of shape ", t.shape(), "; permute takes any dimensions");
  return transpose(t, 0, 1);
}

// Formats the number of a one-element tensor as Python does, f"{loss:.3f}".
nb::object formatted(const nb::handle& t, const nb::str& format) {
  const auto& tensor = nb::cast<const Tensor&>(t);
  const bool plain = nb::len(format) == 0;
  if (plain && tensor.dim() > 0) return nb::str(t);
  check(tensor.numel() == 1, "[format] expected one element for the format '", format.c_str(),
        "', got a tensor of shape ", tensor.shape());
  return nb::module_::import_("builtins").attr("format")(t.attr("item")(), format);
}

}  // namespace

void bind_methods(nb::class_<Tensor>& tensor) {
  constexpr const char* kReshape =
      "A view of another shape; one size may be -1: reshape(2, 3) or reshape([2, 3]). Differentiable.";
  tensor
      .def("reshape", &reshaped, nb::sig("def reshape(self, *sizes: int | collections.abc.Sequence[int]) -> Tensor"),
           kReshape)
      .def("view", &reshaped, nb::sig("def view(self, *sizes: int | collections.abc.Sequence[int]) -> Tensor"),
           kReshape)
      .def(
          "permute", [](const Tensor& t, const nb::args& dims) { return permute(t, numbers_of<int>("permute", dims)); },
          nb::sig("def permute(self, *dims: int | collections.abc.Sequence[int]) -> Tensor"),
          "A copy whose dimension i is dims[i] of this tensor.")
      .def(
          "pow", [](const Tensor& t, double exponent) { return pow(t, exponent); }, "exponent"_a, Unlocked())
      .def(
          "pow", [](const Tensor& t, const Tensor& exponent) { return pow(t, exponent); }, "exponent"_a, Unlocked(),
          "Raises every element to a power, a number or a tensor.")
      .def("transpose", &transpose, "dim0"_a, "dim1"_a, Unlocked(), "A copy with two dimensions exchanged.")
      .def_prop_ro("T", &matrix_transposed, "A copy of the matrix, transposed.")
      .def("__format__", &formatted, "format"_a, nb::sig("def __format__(self, format: str, /) -> str"));
  using Unary = Tensor (*)(const Tensor&);
  for (const auto& [name, op, doc] : {std::tuple<const char*, Unary, const char*>{"exp", &exp, "eˣ of every element."},
                                      {"log", &log, "The natural logarithm of every element."},
                                      {"sqrt", &sqrt, "The square root of every element."},
                                      {"abs", &abs, "|x|."},
                                      {"__abs__", &abs, "|x|."}})
    tensor.def(name, op, Unlocked(), doc);
}

}  // namespace fulcrum::python
