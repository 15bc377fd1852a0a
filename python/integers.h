// Labels, indices and groups from Python: a tensor, or an array of integers, of any integer dtype; as i64.
//
//   m.def("f", [](const Tensor& x, const Integers& labels) { return f(x, labels.as_i64("f", "labels", x)); },
//         "x"_a, "labels"_a, Unlocked());
#pragma once

#include "bindings.h"

namespace fulcrum::python {

struct Integers {
  Tensor tensor = {};
  nb::handle other = {};  // what is no tensor; the caller holds it until the call ends

  /// An array goes to the device of x, if x is defined. Throws Error, in which `name` is the argument of `op`. May be called
  /// without Python's lock.
  Tensor as_i64(const char* op, const char* name, const Tensor& x) const {
    Tensor t = tensor ? tensor : converted(op, name, x ? x.device() : Device());
    if (t.dtype() == DType::kI64) return t;
    const bool rows = std::string_view(name).starts_with("ind");
    check(
        !(tensor && rows && t.dtype() == DType::kU8), "[", op, "] ", name,
        ": expected row numbers, got a tensor of u8, as masks are; numpy.flatnonzero(mask), or .to('i64') of numbers");
    check(!is_floating(t.dtype()), "[", op, "] ", name, ": expected integers, got ", t.dtype(), " ", t.shape());
    return t.to(DType::kI64);
  }

  /// What was given as floating numbers, on the device of x; undefined if they are integers.
  Tensor as_floating(const Tensor& x) const {
    if (tensor) return is_floating(tensor.dtype()) ? tensor : Tensor();
    const nb::gil_scoped_acquire acquire;
    if (!nb::hasattr(other, "__array__")) return {};
    const nb::object array = nb::module_::import_("numpy").attr("asarray")(other);
    if (nb::cast<std::string>(array.attr("dtype").attr("kind")) != "f") return {};
    return nb::cast<Tensor>(nb::module_::import_("fulcrum").attr("tensor")(array)).to(x.device());
  }

 private:
  // A copy, which later writes to the array do not reach.
  Tensor converted(const char* op, const char* name, const Device& device) const {
    const nb::gil_scoped_acquire acquire;
    const auto unfit = [&](const char* got, const char* help) {
      fail("[", op, "] ", name, ": expected a fulcrum.Tensor or an array of integers, got ", got, "; use ", help, "(",
           name, ")");
    };
    if (!nb::hasattr(other, "__array__")) unfit(nb::type_name(other.type()).c_str(), "fulcrum.tensor");
    const nb::object array = nb::module_::import_("numpy").attr("asarray")(other), dtype = array.attr("dtype");
    const auto kind = nb::cast<std::string>(dtype.attr("kind"));
    if (kind != "i" && kind != "u")
      unfit(nb::str(dtype).c_str(),
            kind == "b" && std::string_view(name).starts_with("ind") ? "numpy.flatnonzero" : "numpy.int64");
    return nb::cast<Tensor>(nb::module_::import_("fulcrum").attr("tensor")(array)).to(device);
  }
};

using OptionalIntegers = std::optional<Integers>;
inline Tensor as_i64(const OptionalIntegers& given, const char* op, const char* name, const Tensor& x) {
  return given ? given->as_i64(op, name, x) : Tensor();
}

}  // namespace fulcrum::python

namespace nanobind::detail {

template <>
struct type_caster<fulcrum::python::Integers> {
  NB_TYPE_CASTER(fulcrum::python::Integers, make_caster<fulcrum::Tensor>::Name + const_name(" | numpy.typing.NDArray"))
  bool from_python(handle source, uint8_t, cleanup_list* cleanup) noexcept {
    if (source.is_none()) return false;
    make_caster<fulcrum::Tensor> tensor;  // false for a Tensor whose __init__ has not run
    if (tensor.from_python(source, 0, cleanup)) value.tensor = *static_cast<fulcrum::Tensor*>(tensor);
    else value.other = source;
    return true;
  }
};

}  // namespace nanobind::detail
