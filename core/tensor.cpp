#include <fulcrum/core/tensor.h>

#include <cstring>
#include <ostream>
#include <utility>

#include <fulcrum/core/arena.h>
#include <fulcrum/core/autograd.h>
#include <fulcrum/core/kernels.h>
#include <fulcrum/core/ops.h>

namespace fulcrum {

struct TensorImpl {
  std::shared_ptr<Storage> storage;
  size_t offset = 0;
  Shape shape;
  DType dtype = DType::kF32;
  std::shared_ptr<Node> node;
};

namespace {
const TensorImpl& deref(const std::shared_ptr<TensorImpl>& impl) {
  check(impl != nullptr, "[tensor] expected a tensor, got an undefined one");
  return *impl;
}

void check_sizes(const Shape& shape) {
  int64_t bytes = 8;  // of the widest dtype
  for (int i = 0; i < shape.dim(); i++) {
    check(shape[i] > 0, "[empty] expected sizes of at least 1, got ", shape);
    check(!__builtin_mul_overflow(bytes, shape[i], &bytes), "[empty] expected fewer than 2^60 elements, got ", shape);
  }
}
}  // namespace

Tensor::Tensor(std::shared_ptr<Storage> storage, size_t offset, Shape shape, DType dtype)
    : impl_(std::make_shared<TensorImpl>(TensorImpl{std::move(storage), offset, shape, dtype, nullptr})) {}

const Shape& Tensor::shape() const { return deref(impl_).shape; }
DType Tensor::dtype() const { return deref(impl_).dtype; }
Device Tensor::device() const { return deref(impl_).storage->device(); }
const std::shared_ptr<Storage>& Tensor::storage() const { return deref(impl_).storage; }
size_t Tensor::offset() const { return deref(impl_).offset; }
const std::shared_ptr<Node>& Tensor::node() const { return deref(impl_).node; }
bool Tensor::is_unique() const {
  return impl_.use_count() == 1 && impl_->storage.use_count() == 1 && !impl_->storage->is_borrowed();
}

const void* Tensor::raw() const { return static_cast<const char*>(deref(impl_).storage->data()) + impl_->offset; }
void* Tensor::raw() { return const_cast<void*>(std::as_const(*this).raw()); }

void* Tensor::typed(DType wanted) const {
  check(dtype() == wanted, "[data] expected dtype ", wanted, ", got ", dtype(), " ", shape());
  return const_cast<void*>(raw());
}

std::vector<double> Tensor::to_vector() const {
  const Tensor host = to(Device());
  std::vector<double> values(static_cast<size_t>(numel()));
  visit_any(dtype(), [&]<class T>() {
    const T* x = host.data<T>();
    for (size_t i = 0; i < values.size(); i++) values[i] = static_cast<double>(x[i]);
  });
  return values;
}

double Tensor::item() const {
  check(numel() == 1, "[item] expected one element, got ", shape());
  return to_vector()[0];
}

Tensor Tensor::detach() const {
  deref(impl_);
  return Tensor(impl_->storage, impl_->offset, impl_->shape, impl_->dtype);
}

Tensor Tensor::clone() const {
  Tensor copy = empty_like(*this);
  copy.copy_from(*this);
  if (!requires_grad() && !OpObserver::active()) return copy;  // the engine's own copies are not ops
  return record("clone", copy, {*this}, [](const Tensor& dy, Needs) -> Grads { return {dy}; });
}

Tensor Tensor::to(Device target) const {
  if (device() == target) return *this;
  Tensor copy = empty(shape(), {dtype(), target});
  copy.copy_from(*this);
  if (!requires_grad()) return copy;
  return record("to", copy, {*this}, [from = device()](const Tensor& dy, Needs) -> Grads { return {dy.to(from)}; });
}

Tensor Tensor::to(DType target) const { return cast(*this, target); }

Tensor Tensor::as(DType target) const {
  if (dtype() == target) return *this;
  const std::shared_ptr<Node>& n = node();
  if (!n || !n->twin.defined() || n->twin.dtype() != target) return to(target);
  Tensor twin = n->twin.detach();
  twin.set_node(n);
  return twin;
}

void Tensor::copy_from(const Tensor& other) {
  check(shape() == other.shape(), "[copy] expected shape ", shape(), ", got ", other.shape());
  if (device().is_cpu() && other.device().is_cpu() && dtype() == other.dtype()) {
    std::memmove(raw(), other.raw(), bytes());
  } else if (dtype() == other.dtype()) {
    const Tensor from = storage() == other.storage() ? other.detach().clone() : other;  // may overlap
    cuda::copy(raw(), device(), from.raw(), from.device(), bytes());
  } else if (device() == other.device()) {
    dispatch(*this, [&]<class K>() { K::cast(*this, other); });
  } else {
    return copy_from(other.to(dtype()));  // converts on the source's device
  }
  mark_written();
  refresh_twin(*this);
}

void Tensor::mark_written() {
  const std::shared_ptr<Storage>& storage = deref(impl_).storage;
  if (storage.use_count() > 1) storage->writes().add(offset(), offset() + bytes());  // else nothing can have saved it
}

bool Tensor::requires_grad() const { return deref(impl_).node && impl_->node->requires_grad; }

Tensor& Tensor::set_requires_grad(bool value) {
  check(is_floating(dtype()), "[requires_grad] expected a floating dtype, got ", dtype());
  if (!impl_->node) {
    if (!value) return *this;
    impl_->node = std::make_shared<Node>();
    impl_->node->shape = shape();
    impl_->node->dtype = dtype();
  }
  check(impl_->node->is_leaf(), "[requires_grad] expected a leaf, got the result of ", impl_->node->name);
  impl_->node->requires_grad = value;
  return *this;
}

Tensor Tensor::grad() const { return node() ? node()->grad : Tensor(); }
void Tensor::set_grad(Tensor grad) {
  check(node() && node()->is_leaf(), "[set_grad] expected a leaf that requires its gradient");
  check(!grad || (grad.shape() == shape() && grad.dtype() == dtype() && grad.device() == device()),
        "[set_grad] expected ", dtype(), " ", shape(), " on ", device(), ", got ", grad);
  node()->grad = std::move(grad);
}
void Tensor::set_node(std::shared_ptr<Node> node) {
  deref(impl_);
  impl_->node = std::move(node);
}

void Tensor::rebind(const Tensor& other) {
  check(shape() == other.shape(), "[rebind] expected shape ", shape(), ", got ", other.shape());
  impl_->storage = other.storage();
  impl_->offset = other.offset();
  impl_->dtype = other.dtype();
  if (impl_->node) impl_->node->dtype = other.dtype();
}

Tensor empty(const Shape& shape, TensorOptions options) {
  check_sizes(shape);
  const size_t bytes = static_cast<size_t>(shape.numel()) * size_of(options.dtype);
  return Tensor(Storage::allocate(options.device, bytes), 0, shape, options.dtype);
}

Tensor full(const Shape& shape, double value, TensorOptions options) {
  Tensor t = empty(shape, options);
  dispatch(t, [&]<class K>() { K::fill(t, value); });
  return t;
}
Tensor zeros(const Shape& shape, TensorOptions options) { return full(shape, 0, options); }
Tensor ones(const Shape& shape, TensorOptions options) { return full(shape, 1, options); }

namespace {
template <class T>
Tensor from_values(const Shape& shape, const std::vector<T>& values) {
  check(static_cast<int64_t>(values.size()) == shape.numel(), "[from_vector] expected ", shape.numel(),
        " values for shape ", shape, ", got ", values.size());
  Tensor t = empty(shape, {dtype_of<T>, {}});
  std::memcpy(t.raw(), values.data(), t.bytes());
  return t;
}
}  // namespace

Tensor from_vector(const Shape& shape, const std::vector<double>& values, TensorOptions options) {
  return from_values(shape, values).to(options.dtype).to(options.device);
}
Tensor from_vector(const Shape& shape, const std::vector<float>& values, TensorOptions options) {
  return from_values(shape, values).to(options.dtype).to(options.device);
}
Tensor from_vector(const Shape& shape, std::initializer_list<double> values, TensorOptions options) {
  return from_vector(shape, std::vector<double>(values), options);
}
Tensor from_vector(const Shape& shape, const std::vector<int64_t>& values, Device device) {
  return from_values(shape, values).to(device);
}

std::ostream& operator<<(std::ostream& out, const Tensor& tensor) {
  if (!tensor.defined()) return out << "Tensor()";
  out << "Tensor(" << tensor.shape() << ", " << tensor.dtype() << ", " << tensor.device() << ", [";
  const Tensor host = tensor.to(Device());
  const int64_t shown = std::min<int64_t>(tensor.numel(), 8);
  visit_any(tensor.dtype(), [&]<class T>() {
    for (int64_t i = 0; i < shown; i++) {
      const T value = host.data<T>()[i];
      out << (i ? ", " : "");
      if constexpr (std::is_integral_v<T>) out << +value;
      else out << static_cast<double>(value);
    }
  });
  return out << (tensor.numel() > shown ? ", …])" : "])");
}

}  // namespace fulcrum
