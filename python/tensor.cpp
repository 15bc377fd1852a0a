// fulcrum.Tensor: construction, views, autograd, operators. exchange.cpp shares its memory with other libraries.
#include "bindings.h"
#include "integers.h"

#include <sstream>

#include <nanobind/operators.h>

#include <fulcrum/core/arena.h>
#include <fulcrum/core/autograd.h>
#include <fulcrum/core/random.h>

namespace fulcrum::python {

void write(Tensor& tensor, const Tensor& numbers) {
  check(tensor.shape() == numbers.shape(), "[copy_] expected a tensor of shape ", tensor.shape(), ", got ",
        numbers.shape());
  const bool has_history = tensor.requires_grad() && !tensor.node()->is_leaf();
  check(!grad_enabled() || !(has_history || numbers.requires_grad()),
        "[copy_] what is written in place has no gradient; write within no_grad(), or make a new tensor");
  tensor.copy_from(numbers);
}

Operand operand_of(const nb::object& other) {
  if (nb::isinstance<Tensor>(other)) return {nb::cast<Tensor>(other)};
  const bool array = nb::hasattr(other, "__array__") && nb::cast<int>(nb::getattr(other, "ndim", nb::int_(0))) > 0;
  if (array) return {nb::cast<Tensor>(nb::module_::import_("fulcrum").attr("tensor")(other))};
  double number = 0;
  if (nb::try_cast(other, number)) return {{}, number};
  return {};
}

void check_fits(const char* op, double value, DType dtype) {
  if (is_floating(dtype)) return;
  constexpr double kExact = 9007199254740991;  // 2⁵³ − 1: beyond it, different integers have the same double
  const double high = dtype == DType::kU8 ? 255 : dtype == DType::kI32 ? 2147483647 : kExact;
  const double low = dtype == DType::kU8 ? 0 : -high - (dtype == DType::kI32 ? 1 : 0);
  check(value >= low && value <= high, "[", op, "] expected a number in [", low, ", ", high, "] for ", dtype, ", got ",
        value);
}

namespace {

// x += y and the like, in the memory of x.
template <class Op, class Other>
Tensor& in_place(Tensor& x, const Other& y, Op op) {
  bool wanted = x.requires_grad();
  if constexpr (std::is_same_v<Other, Tensor>) wanted = wanted || y.requires_grad();
  check(!grad_enabled() || !wanted,
        "[in place] += and the like have no gradient; write x = x + y, or within no_grad()");
  const NoGrad no_grad;
  const Tensor result = op(x, y);
  check(result.shape() == x.shape(), "[in place] expected a result of shape ", x.shape(), ", got ", result.shape());
  x.copy_from(result);
  return x;
}

bool truth(const Tensor& t) {
  check(t.numel() == 1, "[bool] the truth of a tensor of shape ", t.shape(), " is not defined; expected one element");
  return t.item() != 0;
}

// Nested lists, as numpy.ndarray.tolist gives them.
nb::object nested(const Tensor& host, int dim, int64_t& next) {
  if (dim == host.dim()) {
    nb::object number;
    visit_any(host.dtype(), [&]<class T>() {
      const T value = host.data<T>()[next++];
      if constexpr (std::is_integral_v<T>) number = nb::int_(value);
      else number = nb::float_(static_cast<double>(value));
    });
    return number;
  }
  nb::list list;
  for (int64_t i = 0; i < host.size(dim); i++) list.append(nested(host, dim + 1, next));
  return list;
}

nb::object to_list(const Tensor& t) {
  int64_t next = 0;
  return nested(t.detach().to(Device()), 0, next);
}

nb::object to_number(const Tensor& t) {
  check(t.numel() == 1, "[item] expected one element, got ", t.shape());
  return to_list(t.detach().reshape({}));
}

// The argument of `to` is a dtype or a device: "f32" or "cpu".
Tensor convert(const Tensor& t, const std::string& target) {
  const bool is_device = target.starts_with("cpu") || target.starts_with("cuda");
  return is_device ? t.to(Device(target)) : t.to(parse_dtype(target));
}

void bind_properties(nb::class_<Tensor>& tensor) {
  tensor
      .def_prop_ro(
          "shape", [](const Tensor& t) { return shape_tuple(t.shape()); }, "The sizes, as a tuple.")
      .def_prop_ro(
          "dtype", [](const Tensor& t) { return name_of(t.dtype()); }, "'f32', 'bf16', 'f64', 'u8', 'i32' or 'i64'.")
      .def_prop_ro(
          "device", [](const Tensor& t) { return t.device().str(); }, "'cpu' or 'cuda:0'.")
      .def_prop_ro("ndim", &Tensor::dim)
      .def("numel", &Tensor::numel, "The number of elements.")
      .def(
          "size", [](const Tensor& t, int dim) { return t.size(dim); }, "dim"_a)
      .def(
          "data_ptr", [](const Tensor& t) { return reinterpret_cast<uintptr_t>(t.raw()); },
          "Address of the first element.")
      .def("__len__",
           [](const Tensor& t) {
             check(t.dim() > 0, "[len] a tensor of shape [] has no length");
             return t.size(0);
           })
      .def(
          "__repr__",
          [](const Tensor& t) {
            std::ostringstream text;
            text << "fulcrum." << t;
            return text.str();
          },
          Unlocked());
}

void bind_views(nb::class_<Tensor>& tensor) {
  tensor
      .def("item", &to_number, nb::sig("def item(self) -> float"),
           "The number of a tensor with one element. Waits for the device.")
      .def("tolist", &to_list, nb::sig("def tolist(self) -> list"),
           "All numbers as nested lists. Waits for the device.")
      .def("__float__", [](const Tensor& t) { return t.item(); })
      .def("detach", &Tensor::detach, "A tensor on the same memory, without history.")
      .def("clone", &Tensor::clone, Unlocked(), "A copy of the numbers. Differentiable.")
      .def("to", &convert, "target"_a, Unlocked(),
           "Converts to a dtype ('bf16'; differentiable) or copies to a device ('cpu'); returns the tensor itself if "
           "nothing changes.")
      .def(
          "copy_",
          [](Tensor& t, const nb::object& numbers) -> Tensor& {
            const Operand source = operand_of(numbers);
            check(source.tensor.has_value(), "[copy_] expected a tensor or an array, got ",
                  nb::inst_name(numbers).c_str());
            const nb::gil_scoped_release release;
            write(t, *source.tensor);
            return t;
          },
          "numbers"_a, nb::rv_policy::none, nb::sig("def copy_(self, numbers: object) -> Tensor"),
          "Overwrites the numbers with those of a tensor or an array of the same shape; the bf16 twin of a parameter follows.")
      .def(
          "index_copy_",
          [](Tensor& t, int dim, const Integers& index, const Tensor& source) -> Tensor& {
            index_copy_(t, dim, index.as_i64("index_copy_", "index", t), source);
            return t;
          },
          "dim"_a, "index"_a, "source"_a, nb::rv_policy::none, Unlocked(),
          "Overwrites slice index[k] of `dim` with slice k of the source, in place and without a gradient; index [K], "
          "integers. Where an index repeats, the last slice wins.");
}

void bind_autograd(nb::class_<Tensor>& tensor) {
  tensor.def_prop_rw("requires_grad", &Tensor::requires_grad, [](Tensor& t, bool on) { t.set_requires_grad(on); })
      .def(
          "requires_grad_", [](Tensor& t, bool on) -> Tensor& { return t.set_requires_grad(on); }, "on"_a = true,
          nb::rv_policy::none, "Sets whether a leaf requires a gradient, and returns the leaf.")
      .def_prop_rw(
          "grad", [](const Tensor& t) { return or_none(t.grad()); },
          [](Tensor& t, const OptionalTensor& grad) { t.set_grad(or_undefined(grad)); },
          nb::for_setter(nb::arg("grad").none()), "The accumulated gradient of a leaf, or None.")
      .def(
          "backward", [](const Tensor& t, const OptionalTensor& seed) { t.backward(or_undefined(seed)); },
          "seed"_a = nb::none(), Unlocked(),
          "Adds d(self)/d(leaf), contracted with `seed` (1 by default, for a tensor with one element), to the "
          "gradient of every leaf, and frees the graph.");
}

template <class Op>
void bind_in_place(nb::class_<Tensor>& tensor, const char* name, Op op) {
  tensor.def(
      name,
      [op](Tensor& x, const nb::object& other) -> Tensor& {
        const Operand y = operand_of(other);
        check(bool(y), "[in place] expected a tensor, an array or a number, got ", nb::inst_name(other).c_str());
        const nb::gil_scoped_release release;
        return y.tensor ? in_place(x, *y.tensor, op) : in_place(x, *y.number, op);
      },
      nb::rv_policy::none);
}

// Comparisons give 1 or 0.
template <class Op>
void bind_comparison(nb::class_<Tensor>& tensor, const char* name, Op op) {
  tensor.def(
      name,
      [op](const Tensor& a, const nb::object& other) {
        const Operand b = operand_of(other);
        if (!b) return nb::borrow(Py_NotImplemented);
        return nb::cast(b.tensor ? op(a, *b.tensor) : op(a, *b.number));
      },
      "other"_a.none());
}

// Comparisons are elementwise, as in NumPy and PyTorch; sets and dictionaries use the identity of the Python object.
void bind_comparisons(nb::class_<Tensor>& tensor) {
  tensor.attr("__array_priority__") = 1000;  // array ∘ tensor takes the tensor's operator
  bind_comparison(tensor, "__eq__", [](const Tensor& a, const auto& b) { return eq(a, b); });
  bind_comparison(tensor, "__ne__", [](const Tensor& a, const auto& b) { return ne(a, b); });
  bind_comparison(tensor, "__gt__", [](const Tensor& a, const auto& b) { return gt(a, b); });
  bind_comparison(tensor, "__ge__", [](const Tensor& a, const auto& b) { return ge(a, b); });
  bind_comparison(tensor, "__lt__", [](const Tensor& a, const auto& b) { return lt(a, b); });
  bind_comparison(tensor, "__le__", [](const Tensor& a, const auto& b) { return le(a, b); });
  tensor.attr("__hash__") = nb::module_::import_("builtins").attr("object").attr("__hash__");
  tensor.def("__bool__", &truth, Unlocked());
  bind_in_place(tensor, "__iadd__", [](const Tensor& x, const auto& y) { return x + y; });
  bind_in_place(tensor, "__isub__", [](const Tensor& x, const auto& y) { return x - y; });
  bind_in_place(tensor, "__imul__", [](const Tensor& x, const auto& y) { return x * y; });
  bind_in_place(tensor, "__itruediv__", [](const Tensor& x, const auto& y) { return x / y; });
}

// An operator with a tensor, or with an array as a tensor.
template <class Op>
void bind_with_tensors(nb::class_<Tensor>& tensor, const char* name, Op op) {
  tensor
      .def(
          name, [op](const Tensor& a, const Tensor& b) { return op(a, b); }, nb::is_operator(), Unlocked())
      .def(
          name,
          [op](const Tensor& a, const nb::object& array) {
            const Operand b = operand_of(array);
            if (!b.tensor) throw nb::next_overload();
            const nb::gil_scoped_release release;
            return op(a, *b.tensor);
          },
          nb::is_operator());
}

// The same, with a number, too.
template <class Op>
void bind_binary(nb::class_<Tensor>& tensor, const char* name, Op op) {
  tensor.def(
      name, [op](const Tensor& a, double b) { return op(a, b); }, nb::is_operator(), Unlocked());
  bind_with_tensors(tensor, name, op);
}

void bind_operators(nb::class_<Tensor>& tensor) {
  bind_binary(tensor, "__add__", [](const Tensor& a, const auto& b) { return a + b; });
  bind_binary(tensor, "__radd__", [](const Tensor& a, const auto& b) { return b + a; });
  bind_binary(tensor, "__sub__", [](const Tensor& a, const auto& b) { return a - b; });
  bind_binary(tensor, "__rsub__", [](const Tensor& a, const auto& b) { return b - a; });
  bind_binary(tensor, "__mul__", [](const Tensor& a, const auto& b) { return a * b; });
  bind_binary(tensor, "__rmul__", [](const Tensor& a, const auto& b) { return b * a; });
  bind_binary(tensor, "__truediv__", [](const Tensor& a, const auto& b) { return a / b; });
  bind_binary(tensor, "__rtruediv__", [](const Tensor& a, const auto& b) { return b / a; });
  bind_with_tensors(tensor, "__matmul__", [](const Tensor& a, const Tensor& b) { return matmul(a, b); });
  bind_with_tensors(tensor, "__rmatmul__", [](const Tensor& a, const Tensor& b) { return matmul(b, a); });
  bind_binary(tensor, "__pow__", [](const Tensor& a, const auto& b) { return pow(a, b); });
  bind_binary(tensor, "__rpow__", [](const Tensor& a, const auto& b) { return pow(b, a); });
  tensor
      .def(
          "__neg__", [](const Tensor& a) { return neg(a); }, Unlocked())
      .def("__pos__", [](const Tensor& a) { return a; })
      .def("__int__", [](const Tensor& a) { return nb::int_(to_number(a)); });
}

// One size, or all of them.
using ShapeArgument = std::variant<int64_t, Sizes>;

Shape shape_of(const ShapeArgument& sizes) {
  if (const int64_t* one = std::get_if<int64_t>(&sizes)) return {*one};
  return Shape(std::get<Sizes>(sizes));
}

void bind_creation(nb::module_& m) {
  using Creation = Tensor (*)(const Shape&, TensorOptions);
  for (const auto& [name, create, doc] :
       {std::tuple<const char*, Creation, const char*>{"empty", &empty, "A tensor whose numbers are undefined."},
        {"zeros", &zeros, "A tensor of zeros; shape is one size or a sequence of sizes."},
        {"ones", &ones, "A tensor of ones."}})
    m.def(
        name,
        [create](const ShapeArgument& shape, const std::string& dtype, const std::string& device) {
          return create(shape_of(shape), tensor_options(dtype, device));
        },
        "shape"_a, "dtype"_a = "f32", "device"_a = "cpu", doc);
  m.def(
      "full",
      [](const ShapeArgument& shape, double value, const std::string& dtype, const std::string& device) {
        const TensorOptions options = tensor_options(dtype, device);
        check_fits("full", value, options.dtype);
        return full(shape_of(shape), value, options);
      },
      "shape"_a, "value"_a, "dtype"_a = "f32", "device"_a = "cpu", "A tensor filled with one value.");
  using Draw = void (*)(Tensor&, double, double, uint64_t, uint64_t);
  for (const auto& [name, draw, doc] :
       {std::tuple<const char*, Draw, const char*>{"rand", &fill_uniform, "Uniform numbers in [0, 1)"},
        {"randn", &fill_normal, "Standard normal numbers"}})
    m.def(
        name,
        [draw](const ShapeArgument& shape, uint64_t seed, uint64_t stream, const std::string& dtype,
               const std::string& device) {
          Tensor t = empty(shape_of(shape), tensor_options(dtype, device));
          check(is_floating(t.dtype()), "[random] expected a floating dtype, got ", t.dtype());
          draw(t, 0, 1, seed, stream);
          return t;
        },
        "shape"_a, nb::kw_only(), "seed"_a, "stream"_a = 0, "dtype"_a = "f32", "device"_a = "cpu",
        concat_text(
            doc,
            " determined by seed and stream, the same on every device. There is no hidden state: another call with "
            "the same seed and stream gives the same numbers.")
            .c_str());
}

}  // namespace

void bind_tensor(nb::module_& m) {
  nb::class_<Tensor> tensor(
      m, "Tensor",
      "Numbers of one dtype in row-major order, with the history that autograd needs. A handle: assigning it copies "
      "no numbers. Images are [N, H, W, C], weights of convolutions [out, kh, kw, in].");
  bind_properties(tensor);
  bind_views(tensor);
  bind_autograd(tensor);
  bind_operators(tensor);
  bind_comparisons(tensor);
  bind_methods(tensor);
  bind_reductions(tensor);
  bind_order(tensor);
  bind_indexing(tensor);
  bind_exchange(tensor, m);
  bind_pickle(tensor, m);
  bind_creation(m);
}

}  // namespace fulcrum::python
