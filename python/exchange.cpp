// Memory shared with NumPy, PyTorch and other libraries with DLPack, in both directions and without a copy.
//
// Export: the array holds a handle on the tensor's storage. Import: the storage holds the array (Storage::borrow).
// Either side may therefore be dropped first.
#include "bindings.h"

#include <nanobind/ndarray.h>

namespace fulcrum::python {

namespace {

using Code = nb::dlpack::dtype_code;

nb::dlpack::dtype to_dlpack(DType dtype) {
  if (dtype == DType::kBf16) return {static_cast<uint8_t>(Code::Bfloat), 16, 1};
  return visit_any(dtype, []<class T>() {
    if constexpr (std::is_same_v<T, bf16>) return nb::dlpack::dtype{};
    else return nb::dtype<T>();
  });
}

DType from_dlpack(nb::dlpack::dtype dtype) {
  for (const DType ours : {DType::kF32, DType::kBf16, DType::kF64, DType::kU8, DType::kI32, DType::kI64})
    if (to_dlpack(ours) == dtype) return ours;
  static const char* kinds[] = {"int", "uint", "float", "opaque", "bfloat", "complex", "bool"};
  fail("[from_dlpack] expected float32, float64, bfloat16, uint8, int32 or int64, got ",
       dtype.code < std::size(kinds) ? kinds[dtype.code] : "another kind", int{dtype.bits});
}

template <class Framework>
nb::ndarray<Framework> share(const Tensor& tensor, const char* op) {
  check(tensor.device().is_cpu(), "[", op, "] expected a tensor on the CPU, got one on ", tensor.device(),
        "; to('cpu') copies it");
  size_t sizes[Shape::kMaxDims];
  for (int i = 0; i < tensor.dim(); i++) sizes[i] = static_cast<size_t>(tensor.size(i));
  // detach(): rebinding a parameter (Module.to) must not take the storage away.
  auto* keep = new Tensor(tensor.detach());
  const nb::capsule owner(keep, [](void* p) noexcept { delete static_cast<Tensor*>(p); });
  return {keep->raw(),
          static_cast<size_t>(tensor.dim()),
          sizes,
          owner,
          nullptr,
          to_dlpack(tensor.dtype()),
          nb::device::cpu::value,
          0};
}

nb::ndarray<nb::numpy> to_numpy(const Tensor& tensor) {
  check(tensor.dtype() != DType::kBf16, "[numpy] NumPy has no bf16; to('f32') makes a copy that it reads");
  return share<nb::numpy>(tensor, "numpy");
}

bool is_contiguous(const nb::ndarray<>& array) {
  int64_t stride = 1;
  for (size_t i = array.ndim(); i-- > 0;) {
    if (array.shape(i) != 1 && array.stride(i) != stride) return false;
    stride *= static_cast<int64_t>(array.shape(i));
  }
  return true;
}

// Holds the array; the last handle may be dropped on any thread.
std::shared_ptr<void> keep(nb::ndarray<> array) {
  return {new nb::ndarray<>(std::move(array)), [](void* p) {
            if (!nb::is_alive()) return;  // Python and its memory are gone
            const nb::gil_scoped_acquire acquire;
            delete static_cast<nb::ndarray<>*>(p);
          }};
}

Tensor borrow(const nb::object& source) {
  nb::ndarray<> array;
  const nb::object kind = nb::getattr(source, "dtype", nb::none());
  if (nb::hasattr(kind, "isnative") && !nb::cast<bool>(kind.attr("isnative")))
    fail("[from_dlpack] expected numbers in this machine's byte order, got ", nb::str(kind).c_str(),
         "; array.astype(array.dtype.newbyteorder('=')) turns them");
  check(nb::try_cast(source, array),
        "[from_dlpack] expected a writable array of NumPy, PyTorch or another library with DLPack, got ",
        nb::type_name(source.type()).c_str(), "; a read-only one has to be copied: fulcrum.tensor(…)");
  check(array.device_type() == nb::device::cpu::value,
        "[from_dlpack] expected an array in the CPU's memory, got one on a device of DLPack's type ",
        array.device_type());
  const DType dtype = from_dlpack(array.dtype());
  Shape shape;
  check(array.ndim() <= Shape::kMaxDims, "[from_dlpack] expected at most ", Shape::kMaxDims, " dimensions, got ",
        array.ndim());
  for (size_t i = 0; i < array.ndim(); i++) shape.push_back(static_cast<int64_t>(array.shape(i)));
  check(array.size() > 0, "[from_dlpack] expected sizes of at least 1, got ", shape);
  check(is_contiguous(array), "[from_dlpack] expected a contiguous array (C order), got one of shape ", shape,
        " with other strides; numpy.ascontiguousarray or torch's contiguous() copies it");
  void* data = array.data();
  const size_t bytes = array.nbytes();
  return Tensor(Storage::borrow(Device(), data, bytes, keep(std::move(array))), 0, shape, dtype);
}

}  // namespace

void bind_exchange(nb::class_<Tensor>& tensor, nb::module_& m) {
  tensor.def("numpy", &to_numpy, "A NumPy array that shares the memory. Not for bf16, which NumPy lacks.")
      .def(
          "__array__",
          [](const Tensor& t, const nb::object& dtype, const nb::object& copy) {
            nb::object array = nb::cast(to_numpy(t));
            if (!dtype.is_none()) return nb::object(array.attr("astype")(dtype));
            if (!copy.is_none() && nb::cast<bool>(copy)) return nb::object(array.attr("copy")());
            return array;
          },
          "dtype"_a = nb::none(), "copy"_a = nb::none())
      .def(
          "__dlpack__",
          [](const Tensor& t, const nb::kwargs& kwargs) {
            return nb::cast(share<nb::array_api>(t, "dlpack")).attr("__dlpack__")(**kwargs);
          },
          "DLPack's capsule, for torch.from_dlpack(t) and the like: shares the memory.")
      .def("__dlpack_device__", [](const Tensor& t) {
        return nb::make_tuple(t.device().is_cpu() ? nb::device::cpu::value : nb::device::cuda::value, t.device().index);
      });
  m.def("from_dlpack", &borrow, "array"_a.none(),
        "A tensor on the memory of an array of NumPy, PyTorch or another library with DLPack: float32, float64, "
        "bfloat16, uint8, int32 or int64, contiguous, writable, on the CPU. Writes on either side are visible on the "
        "other, and the memory lives as long as either.");
}

}  // namespace fulcrum::python
