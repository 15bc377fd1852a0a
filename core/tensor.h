// Tensor: a cheap handle on refcounted storage.
//
//   Tensor x = ones({2, 3});
//   Tensor w = from_vector({3, 1}, {1, 2, 3}).set_requires_grad();
//   Tensor y = sum(matmul(x, w));
//   y.backward();
//   w.grad().to_vector();                     // {2, 2, 2}
//
// Copying a Tensor copies the handle; clone() copies the numbers. Every tensor is contiguous; the
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

  /// Pointer to the first element in device memory; an Error when T is not the tensor's dtype.
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

  /// The number of a tensor with one element, converted to double. Waits for the device.
  double item() const;
  /// All numbers in row-major order, converted. Waits for the device.
  std::vector<double> to_vector() const;

  /// A view with the same numbers; one size may be -1. Differentiable.
  Tensor reshape(Shape shape) const;
  /// Rows [begin, end) of the leading dimension, a view. Differentiable.
  Tensor slice(int64_t begin, int64_t end) const;
  /// A handle on the same storage without history.
  Tensor detach() const;
  /// A copy of the numbers. Differentiable.
  Tensor clone() const;
  /// Converted copy, or this tensor where the dtype is the same already. Differentiable.
  Tensor to(DType dtype) const;
  /// Copy on another device, or this tensor. Differentiable.
  Tensor to(Device device) const;
  /// The twin of a parameter in `dtype` (see arena.h), through which gradients reach the master;
  /// to(dtype) where there is none.
  Tensor as(DType dtype) const;

  // ---- autograd ----
  bool requires_grad() const;
  /// Makes a leaf require (or stop requiring) its gradient.
  Tensor& set_requires_grad(bool value = true);
  /// Accumulated gradient of a leaf; undefined before the first backward pass.
  Tensor grad() const;
  /// Of the leaf's shape, dtype and device, or undefined for none.
  void set_grad(Tensor grad);
  /// Adds d(this)/d(leaf), contracted with `seed` (default: 1, for one-element tensors), to every
  /// leaf's gradient, and frees the graph.
  void backward(const Tensor& seed = {}) const;

  // ---- for the engine ----
  Tensor(std::shared_ptr<Storage> storage, size_t offset, Shape shape, DType dtype);
  const std::shared_ptr<Storage>& storage() const;
  size_t offset() const;  // bytes from the start of the storage
  /// Whether nothing else can see this tensor's numbers.
  bool is_unique() const;
  const std::shared_ptr<Node>& node() const;
  void set_node(std::shared_ptr<Node> node);
  /// Points this tensor, and with it every copy of the handle, at other storage.
  void rebind(const Tensor& other);
  /// Copies the numbers of `other` (same shape; dtype and device may differ) into this storage and, where this is a parameter,
  /// not a view of one, into its twin. No op: nothing is recorded, and a graph that has saved these numbers can no longer
  /// go backward.
  void copy_from(const Tensor& other);
  /// For what writes through raw(): a graph that has saved these numbers can no longer go backward.
  void mark_written();

 private:
  void* typed(DType dtype) const;
  std::shared_ptr<TensorImpl> impl_;
};

/// What a tensor is made like: dtype and device.
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
/// As i64.
Tensor from_vector(const Shape& shape, const std::vector<int64_t>& values, Device device = {});
inline TensorOptions options_of(const Tensor& like) { return {like.dtype(), like.device()}; }
inline Tensor empty_like(const Tensor& like) { return empty(like.shape(), options_of(like)); }
inline Tensor zeros_like(const Tensor& like) { return zeros(like.shape(), options_of(like)); }
/// Shape, dtype, device and the first numbers, for messages and debuggers.
std::ostream& operator<<(std::ostream& out, const Tensor& tensor);

}  // namespace fulcrum
