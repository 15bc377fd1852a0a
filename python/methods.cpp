// Methods of a tensor that fulcrum.functional also has as functions, and those that change its shape.
#include "bindings.h"

#include <limits>

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

Tensor squeezed(const Tensor& t, std::optional<int> dim) {
  Shape shape;
  const int only = dim ? t.shape().index(*dim) : -1;
  for (int i = 0; i < t.dim(); i++)
    if (t.size(i) != 1 || (dim && i != only)) shape.push_back(t.size(i));
  return t.reshape(shape);
}

Tensor unsqueezed(const Tensor& t, int dim) {
  const int at = dim < 0 ? dim + t.dim() + 1 : dim;
  check(at >= 0 && at <= t.dim(), "[unsqueeze] expected a dimension in [", -t.dim() - 1, ", ", t.dim(), "], got ", dim);
  Shape shape;
  for (int i = 0; i <= t.dim(); i++) {
    if (i == at) shape.push_back(1);
    if (i < t.dim()) shape.push_back(t.size(i));
  }
  return t.reshape(shape);
}

Tensor flattened(const Tensor& t, int start, int end) {
  if (t.dim() == 0) return t.reshape({1});
  const int first = t.shape().index(start), last = t.shape().index(end);
  check(first <= last, "[flatten] expected start_dim to come before end_dim, got ", start, " and ", end);
  Shape shape;
  for (int i = 0; i < first; i++) shape.push_back(t.size(i));
  int64_t size = 1;
  for (int i = first; i <= last; i++) size *= t.size(i);
  shape.push_back(size);
  for (int i = last + 1; i < t.dim(); i++) shape.push_back(t.size(i));
  return t.reshape(shape);
}

// PyTorch's max and min without arguments; with a dimension, PyTorch gives a pair.
Tensor extreme(const char* name, Tensor (*reduction)(const Tensor&, const std::vector<int>&, bool), const Tensor& t,
               const nb::args& given, const nb::kwargs& named) {
  check(given.size() == 0 && named.size() == 0, "[", name, "] expected no arguments; a", name,
        "(dim) gives the elements of a dimension, ",
        std::string_view(name) == "max" ? "argmax(dim)" : "(-x).argmax(dim)", " their places, and F.", name,
        "imum compares two tensors");
  const nb::gil_scoped_release release;
  std::vector<int> all;
  for (int i = 0; i < t.dim(); i++) all.push_back(i);
  return reduction(t, all, false);
}

void bind_shapes(nb::class_<Tensor>& tensor) {
  tensor
      .def("squeeze", &squeezed, "dim"_a = nb::none(),
           "A view without the dimensions of size 1, or without `dim` if it has size 1. Differentiable.")
      .def("unsqueeze", &unsqueezed, "dim"_a, "A view with a new dimension of size 1 at `dim`. Differentiable.")
      .def("flatten", &flattened, "start_dim"_a = 0, "end_dim"_a = -1,
           "A view with dimensions start_dim to end_dim as one. Differentiable. Of images it keeps the order H, W, C.");
}

void bind_elements(nb::class_<Tensor>& tensor) {
  tensor.def("softmax", &softmax, "dim"_a, Unlocked(), "The softmax over one dimension.")
      .def("log_softmax", &log_softmax, "dim"_a, Unlocked(), "The log-softmax over one dimension.")
      .def(
          "clamp",
          [](const Tensor& t, std::optional<double> low, std::optional<double> high) {
            constexpr double kInfinity = std::numeric_limits<double>::infinity();
            return clamp(t, low.value_or(-kInfinity), high.value_or(kInfinity));
          },
          "min"_a = nb::none(), "max"_a = nb::none(), Unlocked(),
          "Elements below min become min, those above max become max.")
      .def(
          "masked_fill", [](const Tensor& t, const Tensor& mask, double value) { return where(mask, value, t); },
          "mask"_a, "value"_a, Unlocked(),
          "The number where the mask (of a comparison, say) is not 0, else the elements; shapes broadcast.")
      .def(
          "max",
          [](const Tensor& t, const nb::args& given, const nb::kwargs& named) {
            return extreme("max", &amax, t, given, named);
          },
          nb::sig("def max(self) -> Tensor"), "The largest element; amax takes dimensions.")
      .def(
          "min",
          [](const Tensor& t, const nb::args& given, const nb::kwargs& named) {
            return extreme("min", &amin, t, given, named);
          },
          nb::sig("def min(self) -> Tensor"), "The smallest element; amin takes dimensions.");
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
  bind_shapes(tensor);
  bind_elements(tensor);
  using Unary = Tensor (*)(const Tensor&);
  for (const auto& [name, op, doc] : {std::tuple<const char*, Unary, const char*>{"exp", &exp, "eˣ of every element."},
                                      {"log", &log, "The natural logarithm of every element."},
                                      {"relu", &relu, "max(x, 0)."},
                                      {"sigmoid", &sigmoid, "1 / (1 + e⁻ˣ)."},
                                      {"tanh", &tanh, "The hyperbolic tangent of every element."},
                                      {"sqrt", &sqrt, "The square root of every element."},
                                      {"abs", &abs, "|x|."},
                                      {"__abs__", &abs, "|x|."}})
    tensor.def(name, op, Unlocked(), doc);
}

}  // namespace fulcrum::python
