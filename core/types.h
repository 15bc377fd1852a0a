// The value types that all other parts use: DType, bf16, Device, Shape.
//
//   Shape s{8, 32, 32, 3};            // up to five sizes, stored inline
//   s.numel(); s[-1]; s.str();        // 24576, 3, "[8, 32, 32, 3]"
//   DType t = parse_dtype("bf16");
//   Device d("cuda:1");
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

#include <fulcrum/core/check.h>

#ifdef __CUDACC__
#define FULCRUM_HD __host__ __device__
#else
#define FULCRUM_HD
#endif

namespace fulcrum {

/// bfloat16: the upper half of an IEEE single. Arithmetic is done in float; narrowing rounds to
/// nearest even and keeps NaN a NaN.
struct bf16 {
  uint16_t bits;

  bf16() = default;
  FULCRUM_HD explicit bf16(float value) {
#ifdef __CUDA_ARCH__  // one instruction instead of eight
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
#else
    const auto u = std::bit_cast<uint32_t>(value);
    const uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
    bits = static_cast<uint16_t>((u & 0x7fffffffu) > 0x7f800000u ? (u >> 16) | 0x40u : rounded);
#endif
  }
  FULCRUM_HD operator float() const { return std::bit_cast<float>(uint32_t{bits} << 16); }
};

enum class DType : uint8_t { kF32, kBf16, kF64, kU8, kI32, kI64 };

size_t size_of(DType dtype);
const char* name_of(DType dtype);
/// Parses "f32", "bf16", "f64", "u8", "i32" or "i64". Throws Error for anything else.
DType parse_dtype(std::string_view name);
/// The dtype of sums, losses, per-channel vectors and masters that go with data of dtype d.
inline DType master_dtype(DType d) { return d == DType::kF64 ? DType::kF64 : DType::kF32; }
inline bool is_floating(DType d) { return d == DType::kF32 || d == DType::kBf16 || d == DType::kF64; }
std::ostream& operator<<(std::ostream& out, DType dtype);

/// The DType of a C++ type: dtype_of<float> == DType::kF32.
template <class T>
inline constexpr DType dtype_of = [] {
  if constexpr (std::is_same_v<T, float>) return DType::kF32;
  if constexpr (std::is_same_v<T, bf16>) return DType::kBf16;
  if constexpr (std::is_same_v<T, double>) return DType::kF64;
  if constexpr (std::is_same_v<T, uint8_t>) return DType::kU8;
  if constexpr (std::is_same_v<T, int32_t>) return DType::kI32;
  if constexpr (std::is_same_v<T, int64_t>) return DType::kI64;
}();

/// Calls f.operator()<T>() with the C++ type of a floating dtype; `op` names the caller in the error.
template <class F>
decltype(auto) visit_floating(DType dtype, const char* op, F&& f) {
  switch (dtype) {
    case DType::kF32: return f.template operator()<float>();
    case DType::kBf16: return f.template operator()<bf16>();
    case DType::kF64: return f.template operator()<double>();
    default: fail("[", op, "] expected a floating dtype, got ", name_of(dtype));
  }
}

/// The same for tensors that are f32 or f64: masters, their gradients, losses, sample weights.
template <class F>
decltype(auto) visit_master(DType dtype, F&& f) {
  if (dtype == DType::kF64) return f.template operator()<double>();
  return f.template operator()<float>();
}

/// Calls f.operator()<T>() with the C++ type of any dtype.
template <class F>
decltype(auto) visit_any(DType dtype, F&& f) {
  switch (dtype) {
    case DType::kF32: return f.template operator()<float>();
    case DType::kBf16: return f.template operator()<bf16>();
    case DType::kF64: return f.template operator()<double>();
    case DType::kU8: return f.template operator()<uint8_t>();
    case DType::kI32: return f.template operator()<int32_t>();
    case DType::kI64: return f.template operator()<int64_t>();
  }
  fail("[dtype] corrupt dtype ", static_cast<int>(dtype));
}

/// The type in which sums over T are accumulated: double for double, float for float and bf16.
template <class T>
using Accumulate = std::conditional_t<std::is_same_v<T, double>, double, float>;

struct Device {
  enum class Kind : uint8_t { kCpu, kCuda };
  Kind kind = Kind::kCpu;
  int index = 0;

  Device() = default;
  Device(Kind k, int i) : kind(k), index(i) {}
  /// Parses "cpu", "cuda" (= "cuda:0") or "cuda:N". Throws Error for anything else.
  explicit Device(std::string_view name);
  bool is_cpu() const { return kind == Kind::kCpu; }
  std::string str() const;
  friend bool operator==(const Device&, const Device&) = default;
};
std::ostream& operator<<(std::ostream& out, const Device& device);

/// Sizes of a tensor, zero to five dimensions, stored inline.
class Shape {
 public:
  static constexpr int kMaxDims = 5;

  Shape() = default;
  Shape(std::initializer_list<int64_t> sizes);
  explicit Shape(const std::vector<int64_t>& sizes);

  int dim() const { return dim_; }
  /// Returns the size of dimension `i`; a negative `i` counts from the end.
  int64_t operator[](int i) const { return sizes_[static_cast<size_t>(index(i))]; }
  void set(int i, int64_t size) { sizes_[static_cast<size_t>(index(i))] = size; }
  int64_t numel() const;
  void push_back(int64_t size);
  /// Returns the shape with dimension `i` removed.
  Shape without(int i) const;
  /// Converts an index in [−dim(), dim()) to [0, dim()). Throws Error if it is out of range.
  int index(int i) const;
  std::string str() const;
  std::vector<int64_t> sizes() const { return {sizes_.begin(), sizes_.begin() + dim_}; }
  friend bool operator==(const Shape&, const Shape&) = default;

 private:
  std::array<int64_t, kMaxDims> sizes_{};
  int dim_ = 0;
};
std::ostream& operator<<(std::ostream& out, const Shape& shape);

/// Rows or elements [begin, end) of something.
struct Slice {
  int64_t begin = 0, end = 0;
  int64_t size() const { return end - begin; }
};

}  // namespace fulcrum
