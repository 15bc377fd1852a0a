// Shared by the files of the bindings: one function for each part of the extension fulcrum._core, and the conversion of
// shapes, dtypes, devices and optional tensors from Python.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <nanobind/nanobind.h>
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/function.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/variant.h>
#include <nanobind/stl/vector.h>

#include <fulcrum/core/ops.h>
#include <fulcrum/core/tensor.h>

namespace fulcrum::python {

namespace nb = nanobind;
using namespace nb::literals;

// In the order of the calls: a class is bound before the signatures that name it.
void bind_tensor(nb::module_& m);
void bind_methods(nb::class_<Tensor>& tensor);
void bind_reductions(nb::class_<Tensor>& tensor);
void bind_order(nb::class_<Tensor>& tensor);
void bind_indexing(nb::class_<Tensor>& tensor);
void bind_exchange(nb::class_<Tensor>& tensor, nb::module_& m);
void bind_pickle(nb::class_<Tensor>& tensor, nb::module_& m);
void bind_ops(nb::module_& m);
void bind_reductions(nb::module_& m);
void bind_order(nb::module_& m);
void bind_losses(nb::module_& m);
void bind_modules(nb::module_& m);
void bind_layers(nb::module_& m);
void bind_files(nb::module_& m);
void bind_risks(nb::module_& m);
void bind_optimizers(nb::module_& m);
void bind_datasets(nb::module_& m);
void bind_listings(nb::module_& m);
void bind_loader(nb::module_& m);
void bind_metrics(nb::module_& m);

/// Releases Python's lock, so that other threads run meanwhile: for everything that computes, reads or waits.
using Unlocked = nb::call_guard<nb::gil_scoped_release>;

using Sizes = std::vector<int64_t>;
using OptionalTensor = std::optional<Tensor>;
/// One number for both sides, or (height, width).
using Pair = std::variant<int64_t, std::pair<int64_t, int64_t>>;

inline Tensor or_undefined(const OptionalTensor& tensor) { return tensor.value_or(Tensor()); }
inline OptionalTensor or_none(const Tensor& tensor) { return tensor ? OptionalTensor(tensor) : std::nullopt; }
inline Size2 size2(const Pair& pair) {
  if (const int64_t* both = std::get_if<int64_t>(&pair)) return *both;
  const auto& [height, width] = std::get<1>(pair);
  return {height, width};
}
/// From PyTorch's names.
inline GeluApproximation gelu_approximation(const std::string& word) {
  check(word == "none" || word == "tanh", "[gelu] expected approximate 'none' or 'tanh', got '", word, "'");
  return word == "tanh" ? GeluApproximation::kTanh : GeluApproximation::kNone;
}
inline nb::tuple shape_tuple(const Shape& shape) {
  nb::list sizes;
  for (const int64_t size : shape.sizes()) sizes.append(size);
  return nb::tuple(sizes);
}
inline TensorOptions tensor_options(const std::string& dtype, const std::string& device) {
  return {parse_dtype(dtype), Device(device)};
}

/// The other operand of an operator: a tensor (or an array of NumPy or others, converted), a number, or neither.
struct Operand {
  OptionalTensor tensor = {};
  std::optional<double> number = {};
  explicit operator bool() const { return tensor || number; }
};
Operand operand_of(const nb::object& other);

/// Throws Error if an integer dtype, given its value as a double, does not hold the value.
void check_fits(const char* op, double value, DType dtype);

/// Overwrites the numbers. Throws Error if that would need a gradient.
void write(Tensor& tensor, const Tensor& numbers);

}  // namespace fulcrum::python
