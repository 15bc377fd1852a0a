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
    check(!is_floating(t.dtype()), "[", op, "] ", name, ": expected integers, got ", t.dtype(), " ", t.shape());
    return t.to(DType::kI64);
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
            kind == "b" && std::string(name) == "indices" ? "numpy.flatnonzero" : "numpy.int64");
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
  bool from_python(handle source, uint8_t, cleanup_list*) noexcept {
    if (source.is_none()) return false;
    if (isinstance<fulcrum::Tensor>(source)) value.tensor = *inst_ptr<fulcrum::Tensor>(source);
    else value.other = source;
    return true;
  }
};

}  // namespace nanobind::detail
