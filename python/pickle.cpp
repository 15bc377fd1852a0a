// Copies and pickles: copy.copy, copy.deepcopy and pickle (and with it torch.save) of tensors. Modules have them in
// fulcrum/_copies.py; optimisers and risks refuse, and say what to save instead.
#include "bindings.h"

#include <fulcrum/core/autograd.h>

namespace fulcrum::python {

namespace {

void check_leaf(const Tensor& t) {
  check(!t.requires_grad() || t.node()->is_leaf(),
        "[copy] a result of differentiable operations has a history, which is not copied; detach() gives a tensor "
        "without one");
}

// The same memory, as copy.copy of a PyTorch tensor.
Tensor shallow(const Tensor& t) {
  check_leaf(t);
  Tensor copy = t.detach();
  if (t.requires_grad()) copy.set_requires_grad();
  return copy;
}

Tensor deep(const Tensor& t, const nb::object&) {
  check_leaf(t);
  const nb::gil_scoped_release release;
  Tensor copy = t.detach().clone();
  if (!t.requires_grad()) return copy;
  copy.set_requires_grad();
  if (t.grad()) copy.set_grad(t.grad().clone());
  return copy;
}

nb::tuple reduced(const Tensor& t) {
  check_leaf(t);
  const Tensor host = t.detach().to(Device());
  const nb::bytes numbers(host.raw(), host.bytes());
  return nb::make_tuple(
      nb::module_::import_("fulcrum._copies").attr("tensor_again"),
      nb::make_tuple(numbers, name_of(t.dtype()), shape_tuple(t.shape()), t.device().str(), t.requires_grad()));
}

Tensor unpickled(const nb::bytes& numbers, const std::string& dtype, const Sizes& sizes, const std::string& device,
                 bool requires_grad) {
  Tensor host = empty(Shape(sizes), {parse_dtype(dtype), Device()});
  check(host.bytes() == numbers.size(), "[pickle] expected ", host.bytes(), " bytes of a tensor ", host.dtype(), " ",
        host.shape(), ", got ", numbers.size());
  std::memcpy(host.raw(), numbers.data(), numbers.size());
  Tensor t = host.to(Device(device));
  return requires_grad ? t.set_requires_grad() : t;
}

}  // namespace

void bind_pickle(nb::class_<Tensor>& tensor, nb::module_& m) {
  tensor.def("__copy__", &shallow)
      .def("__deepcopy__", &deep, "memo"_a.none())
      .def("__reduce__", &reduced, nb::sig("def __reduce__(self) -> tuple"));
  m.def("_unpickled", &unpickled, "numbers"_a, "dtype"_a, "sizes"_a, "device"_a, "requires_grad"_a);
}

}  // namespace fulcrum::python
