// Tensor: a cheap handle on refcounted storage.
//
//   Tensor x = ones({2, 3});
//   Tensor w = from_vector({3, 1}, {1, 2, 3}).set_requires_grad();
//   Tensor y = sum(matmul(x, w));
//   y.backward();
//   w.grad().to_vector();                     // {2, 2, 2}
//
// Copying a Tensor copies the handle; clone() copies the data. Every tensor is contiguous; the
// only views are reshapes and slices of the leading dimension. Images are NHWC, convolution weights
// [out, kh, kw, in]. Sizes are at least 1: a size of 0 is an Error.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <vector>

#include <fulcrum/core/memory.h>
#include <fulcrum/core/types.h>

namespace fulcrum {

struct Node;  // autograd.h
struct TensorImpl;

class Tensor {
 public:
  Tensor() = default;

  bool defined() const { return impl_ != nullptr; }
  explicit operator bool() const { return defined(); }
  const Shape& shape() const;
  int dim() const { return shape().dim(); }
  int64_t size(int i) const { return shape()[i]; }
  int64_t numel() const { return shape().numel(); }
  size_t bytes() const { return static_cast<size_t>(numel()) * size_of(dtype()); }
  DType dtype() const;
  Device device() const;

  /// Returns a pointer to the first element, in device memory. Throws Error if T is not the tensor's dtype.
  template <class T>
  T* data() {
    return static_cast<T*>(typed(dtype_of<T>));
  }
  template <class T>
  const T* data() const {
    return static_cast<const T*>(typed(dtype_of<T>));
  }
  void* raw();
  const void* raw() const;

  /// Returns the value of a one-element tensor as a double. Waits for the device.
  double item() const;
  /// Returns all values in row-major order, as doubles. Waits for the device.
  std::vector<double> to_vector() const;

  /// Returns a view of the same data; one size may be -1. Differentiable.
  Tensor reshape(Shape shape) const;
  /// Returns a view of rows [begin, end) of the leading dimension. Differentiable.
  Tensor slice(int64_t begin, int64_t end) const;
  /// Returns a handle on the same storage without history.
  Tensor detach() const;
  /// Returns a copy of the data. Differentiable.
  Tensor clone() const;
  /// Returns a converted copy, or this tensor if it has that dtype already. Differentiable.
  Tensor to(DType dtype) const;
  /// Returns a copy on another device, or this tensor if it is there already. Differentiable.
  Tensor to(Device device) const;
  /// Returns the parameter's twin in `dtype` (see arena.h), whose gradient goes to the master; to(dtype) if there is no
  /// such twin.
  Tensor as(DType dtype) const;

  // ---- autograd ----
  bool requires_grad() const;
  /// Makes a leaf require (or stop requiring) its gradient.
  Tensor& set_requires_grad(bool value = true);
  /// Accumulated gradient of a leaf; undefined before the first backward pass.
  Tensor grad() const;
  /// Sets the gradient of a leaf: a tensor of the leaf's shape, dtype and device, or undefined for none.
  void set_grad(Tensor grad);
  /// Adds d(this)/d(leaf), contracted with `seed` (default: 1, for one-element tensors), to every
  /// leaf's gradient, and frees the graph.
  void backward(const Tensor& seed = {}) const;

  // ---- for the engine ----
  Tensor(std::shared_ptr<Storage> storage, size_t offset, Shape shape, DType dtype);
  const std::shared_ptr<Storage>& storage() const;
  size_t offset() const;  // bytes from the start of the storage
  /// Whether nothing else refers to this tensor's data, so that it may be modified in place.
  bool is_unique() const;
  const std::shared_ptr<Node>& node() const;
  void set_node(std::shared_ptr<Node> node);
  /// Points this tensor, and with it every copy of the handle, at other storage.
  void rebind(const Tensor& other);
  /// Overwrites this tensor with the values of `other` (same shape; dtype and device may differ). If this is a
  /// parameter, not a view of one, updates its twin as well. Not an op: nothing is recorded, and the backward pass of a
  /// graph that has saved the old values throws Error.
  void copy_from(const Tensor& other);
  /// Call it after writing through raw() or data(): the backward pass of a graph that has saved the old values then
  /// throws Error.
  void mark_written();

 private:
  void* typed(DType dtype) const;
  std::shared_ptr<TensorImpl> impl_;
};

/// The dtype and device of a new tensor.
struct TensorOptions {
  DType dtype = DType::kF32;
  Device device = {};
};

Tensor empty(const Shape& shape, TensorOptions options = {});
Tensor zeros(const Shape& shape, TensorOptions options = {});
Tensor ones(const Shape& shape, TensorOptions options = {});
Tensor full(const Shape& shape, double value, TensorOptions options = {});
/// Row-major values, converted to the dtype.
Tensor from_vector(const Shape& shape, const std::vector<double>& values, TensorOptions options = {});
Tensor from_vector(const Shape& shape, const std::vector<float>& values, TensorOptions options = {});
Tensor from_vector(const Shape& shape, std::initializer_list<double> values, TensorOptions options = {});
/// An i64 tensor.
Tensor from_vector(const Shape& shape, const std::vector<int64_t>& values, Device device = {});
inline TensorOptions options_of(const Tensor& like) { return {like.dtype(), like.device()}; }
inline Tensor empty_like(const Tensor& like) { return empty(like.shape(), options_of(like)); }
inline Tensor zeros_like(const Tensor& like) { return zeros(like.shape(), options_of(like)); }
/// Prints shape, dtype, device and the first values, for messages and debuggers.
std::ostream& operator<<(std::ostream& out, const Tensor& tensor);

}  // namespace fulcrum
