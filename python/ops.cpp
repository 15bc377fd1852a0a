// The differentiable operations of core/ops.h, except for the losses: fulcrum.functional.
#include "bindings.h"
#include "integers.h"

namespace fulcrum::python {

namespace {

using Unary = Tensor (*)(const Tensor&);
using Binary = Tensor (*)(const Tensor&, const Tensor&);

void bind_elementwise(nb::module_& m) {
  const std::vector<std::tuple<const char*, Unary, const char*>> unary{
      {"exp", &exp, "eˣ of every element."},
      {"log", &log, "The natural logarithm of every element."},
      {"sqrt", &sqrt, "The square root of every element."},
      {"tanh", &tanh, "The hyperbolic tangent of every element."},
      {"sigmoid", &sigmoid, "1 / (1 + e⁻ˣ)."},
      {"softplus", &softplus, "log(1 + eˣ)."},
      {"relu", &relu, "max(x, 0)."},
      {"neg", &neg, "−x."},
      {"abs", &abs, "|x|."},
      {"square", &square, "x²."}};
  for (const auto& [name, op, doc] : unary) m.def(name, op, "x"_a, Unlocked(), doc);
  m.def(
      "gelu", [](const Tensor& x, const std::string& approximate) { return gelu(x, gelu_approximation(approximate)); },
      "x"_a, "approximate"_a = "none", Unlocked(),
      "x·Φ(x), Φ the distribution function of a standard normal; approximate='tanh': ½x(1 + tanh(√(2/π)(x + 0.044715x³))).");
  const std::vector<std::tuple<const char*, Binary, const char*>> binary{
      {"add", static_cast<Binary>(&add), "a + b; shapes broadcast as in NumPy."},
      {"sub", static_cast<Binary>(&sub), "a − b; shapes broadcast."},
      {"mul", static_cast<Binary>(&mul), "a · b; shapes broadcast."},
      {"div", static_cast<Binary>(&div), "a / b; shapes broadcast."},
      {"maximum", static_cast<Binary>(&maximum), "The larger of two elements; equal ones share the gradient."},
      {"minimum", static_cast<Binary>(&minimum), "The smaller of two elements; equal ones share the gradient."},
      {"eq", static_cast<Binary>(&eq), "1 where a = b, else 0, in the dtype of a (f32 for integers); no gradient."},
      {"ne", static_cast<Binary>(&ne), "1 where a ≠ b, else 0."},
      {"gt", static_cast<Binary>(&gt), "1 where a > b, else 0."},
      {"ge", static_cast<Binary>(&ge), "1 where a ≥ b, else 0."},
      {"lt", static_cast<Binary>(&lt), "1 where a < b, else 0."},
      {"le", static_cast<Binary>(&le), "1 where a ≤ b, else 0."}};
  for (const auto& [name, op, doc] : binary) m.def(name, op, "a"_a, "b"_a, Unlocked(), doc);
  using Number = Tensor (*)(const Tensor&, double);
  for (const auto& [name, op] : {std::pair("add", static_cast<Number>(&add)),
                                 {"sub", &sub},
                                 {"mul", &mul},
                                 {"div", &div},
                                 {"maximum", &maximum},
                                 {"minimum", &minimum},
                                 {"eq", &eq},
                                 {"ne", &ne},
                                 {"gt", &gt},
                                 {"ge", &ge},
                                 {"lt", &lt},
                                 {"le", &le}})
    m.def(name, op, "a"_a, "b"_a, Unlocked());
  m.def("pow", static_cast<Number>(&pow), "x"_a, "exponent"_a, Unlocked(),
        "x raised to a power, a number or a tensor.");
  m.def("pow", static_cast<Binary>(&pow), "x"_a, "exponent"_a, Unlocked());
  m.def("pow", static_cast<Tensor (*)(double, const Tensor&)>(&pow), "x"_a, "exponent"_a, Unlocked());
  m.def("where", static_cast<Tensor (*)(const Tensor&, const Tensor&, const Tensor&)>(&where), "condition"_a, "a"_a,
        "b"_a, Unlocked(),
        "a where the condition is not 0, else b; shapes broadcast. Elements that are not selected do not affect the "
        "gradient.");
  m.def("where", static_cast<Tensor (*)(const Tensor&, const Tensor&, double)>(&where), "condition"_a, "a"_a, "b"_a,
        Unlocked());
  m.def("where", static_cast<Tensor (*)(const Tensor&, double, const Tensor&)>(&where), "condition"_a, "a"_a, "b"_a,
        Unlocked());
  m.def(
      "clamp",
      [](const Tensor& x, std::optional<double> low, std::optional<double> high) {
        constexpr double kInfinity = std::numeric_limits<double>::infinity();
        return clamp(x, low.value_or(-kInfinity), high.value_or(kInfinity));
      },
      "x"_a, "min"_a = nb::none(), "max"_a = nb::none(), Unlocked(),
      "Elements below min become min, those above max become max.");
}

void bind_shape(nb::module_& m) {
  m.def("concat", &concat, "parts"_a, "dim"_a, Unlocked(), "Concatenates tensors along dimension `dim`.");
  m.def("transpose", &transpose, "x"_a, "dim0"_a, "dim1"_a, Unlocked(), "A copy with two dimensions exchanged.");
  m.def("permute", &permute, "x"_a, "dims"_a, Unlocked(), "A copy whose dimension i is dims[i] of x.");
  m.def("stack", &stack, "parts"_a, "dim"_a = 0, Unlocked(), "Stacks tensors of one shape along a new dimension.");
  m.def("slice", &slice, "x"_a, "dim"_a, "begin"_a, "end"_a, Unlocked(),
        "Elements [begin, end) of dimension `dim`; a view for dimension 0.");
  m.def("pad", &pad, "x"_a, "before"_a, "after"_a, Unlocked(),
        "Pads with zeros: before[i] and after[i] of them in dimension i.");
}

void bind_indices(nb::module_& m) {
  m.def(
      "gather",
      [](const Tensor& x, int dim, const Integers& index) {
        return gather(x, dim, index.as_i64("gather", "index", x));
      },
      "x"_a, "dim"_a, "index"_a, Unlocked(),
      "Elements picked along `dim`; the index, of integers, has x's shape except in `dim`.");
  m.def(
      "index_select",
      [](const Tensor& x, int dim, const Integers& index) {
        return index_select(x, dim, index.as_i64("index_select", "index", x));
      },
      "x"_a, "dim"_a, "index"_a, Unlocked(), "Whole slices along `dim`, by index [K], integers.");
  m.def(
      "one_hot",
      [](const Integers& labels, int64_t classes) {
        return one_hot(labels.as_i64("one_hot", "labels", labels.tensor), classes);
      },
      "labels"_a, "num_classes"_a, Unlocked(), "1 at the label, else 0: f32 [..., num_classes].");
}

void bind_softmax(nb::module_& m) {
  m.def("softmax", &softmax, "x"_a, "dim"_a = -1, Unlocked(), "The softmax over one dimension.");
  m.def("log_softmax", &log_softmax, "x"_a, "dim"_a = -1, Unlocked(), "The log-softmax over one dimension.");
}

void bind_networks(nb::module_& m) {
  m.def("matmul", &matmul, "a"_a, "b"_a, Unlocked(), "[..., m, k] × [k, n] or [..., k, n] → [..., m, n].");
  m.def(
      "linear",
      [](const Tensor& x, const Tensor& weight, const OptionalTensor& bias, bool relu) {
        return linear(x, weight, or_undefined(bias), relu);
      },
      "x"_a, "weight"_a, "bias"_a = nb::none(), "relu"_a = false, Unlocked(),
      "x [..., in], weight [out, in], bias [out] → [..., out], with a fused ReLU if `relu`.");
  m.def(
      "conv2d",
      [](const Tensor& x, const Tensor& weight, const OptionalTensor& bias, const Pair& stride, const Pair& padding,
         const Pair& dilation, int64_t groups) {
        return conv2d(x, weight, or_undefined(bias), {size2(stride), size2(padding), size2(dilation), groups});
      },
      "x"_a, "weight"_a, "bias"_a = nb::none(), "stride"_a = 1, "padding"_a = 0, "dilation"_a = 1, "groups"_a = 1,
      Unlocked(), "x [N, H, W, C], weight [out, kh, kw, C / groups], bias [out] → [N, H', W', out].");
  m.def(
      "max_pool2d",
      [](const Tensor& x, const Pair& kernel, const std::optional<Pair>& stride, const Pair& padding) {
        return max_pool2d(x, {size2(kernel), size2(stride.value_or(kernel)), size2(padding)});
      },
      "x"_a, "kernel_size"_a, "stride"_a = nb::none(), "padding"_a = 0, Unlocked(),
      "x [N, H, W, C]; the stride defaults to the kernel size.");
  m.def(
      "avg_pool2d",
      [](const Tensor& x, const Pair& kernel, const std::optional<Pair>& stride, const Pair& padding,
         bool count_include_pad) {
        return avg_pool2d(x, {size2(kernel), size2(stride.value_or(kernel)), size2(padding), count_include_pad});
      },
      "x"_a, "kernel_size"_a, "stride"_a = nb::none(), "padding"_a = 0, "count_include_pad"_a = true, Unlocked(),
      "x [N, H, W, C]; the stride defaults to the kernel size.");
  m.def(
      "layer_norm",
      [](const Tensor& x, const OptionalTensor& weight, const OptionalTensor& bias, double eps) {
        return layer_norm(x, or_undefined(weight), or_undefined(bias), eps);
      },
      "x"_a, "weight"_a = nb::none(), "bias"_a = nb::none(), "eps"_a = 1e-5, Unlocked(),
      "Normalises over the last dimension of x [..., C]; weight and bias f32 [C].");
  m.def(
      "group_norm",
      [](const Tensor& x, int64_t groups, const OptionalTensor& weight, const OptionalTensor& bias, double eps) {
        return group_norm(x, groups, or_undefined(weight), or_undefined(bias), eps);
      },
      "x"_a, "num_groups"_a, "weight"_a = nb::none(), "bias"_a = nb::none(), "eps"_a = 1e-5, Unlocked(),
      "Normalises each sample of x [N, ..., C] within groups of C / num_groups channels; weight and bias f32 [C].");
  m.def("global_avg_pool2d", &global_avg_pool2d, "x"_a, Unlocked(), "[N, H, W, C] → [N, C], the mean over the image.");
}

}  // namespace

void bind_ops(nb::module_& m) {
  bind_elementwise(m);
  bind_shape(m);
  bind_indices(m);
  bind_reductions(m);
  bind_order(m);
  bind_softmax(m);
  bind_networks(m);
}

}  // namespace fulcrum::python
