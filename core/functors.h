// Element-wise functions and their derivatives, each once, compiled for the CPU and for CUDA.
//
// A unary functor has forward(x) and gradient(dy, s), where s is what it saves: its input or its
// output. Both are computed in A: float for f32 and bf16, double for f64. To add one: write it here,
// enter it in the list below, declare the op in ops.h and name it in ops_elementwise.cpp
// (docs/adding-an-op.md).
#pragma once

#include <cmath>
#include <type_traits>

#include <fulcrum/core/float_math.h>
#include <fulcrum/core/types.h>

namespace fulcrum {

/// Converts x to another dtype; from and to bf16 by way of float.
template <class To, class From>
FULCRUM_HD To convert_to(From x) {
  if constexpr (std::is_same_v<To, From>) return x;
  else if constexpr (std::is_same_v<To, bf16>) return bf16(static_cast<float>(x));
  else if constexpr (std::is_same_v<From, bf16>) return static_cast<To>(static_cast<float>(x));
  else return static_cast<To>(x);
}

/// y + x, added in Accumulate<To> and rounded to y's dtype.
template <class To>
struct AddTo {
  template <class From>
  FULCRUM_HD To operator()(To y, From x) const {
    using A = Accumulate<To>;
    return To(A(y) + convert_to<A>(x));
  }
};

enum class Saves : uint8_t { kInput, kOutput };

struct Exp {
  static constexpr const char* kName = "exp";
  static constexpr Saves kSaves = Saves::kOutput;
  template <class A>
  FULCRUM_HD static A forward(A x) {
    return math::exp(x);
  }
  template <class A>
  FULCRUM_HD static A gradient(A dy, A y) {
    return dy * y;
  }
};

struct Log {
  static constexpr const char* kName = "log";
  static constexpr Saves kSaves = Saves::kInput;
  template <class A>
  FULCRUM_HD static A forward(A x) {
    return std::log(x);
  }
  template <class A>
  FULCRUM_HD static A gradient(A dy, A x) {
    return dy / x;
  }
};

struct Sqrt {
  static constexpr const char* kName = "sqrt";
  static constexpr Saves kSaves = Saves::kOutput;
  template <class A>
  FULCRUM_HD static A forward(A x) {
    return std::sqrt(x);
  }
  template <class A>
  FULCRUM_HD static A gradient(A dy, A y) {
    return dy / (y + y);
  }
};

struct Tanh {
  static constexpr const char* kName = "tanh";
  static constexpr Saves kSaves = Saves::kOutput;
  template <class A>
  FULCRUM_HD static A forward(A x) {
    return math::tanh(x);
  }
  template <class A>
  FULCRUM_HD static A gradient(A dy, A y) {
    return dy * (A(1) - y * y);
  }
};

struct Sigmoid {
  static constexpr const char* kName = "sigmoid";
  static constexpr Saves kSaves = Saves::kOutput;
  template <class A>
  FULCRUM_HD static A forward(A x) {
    const A e = math::exp(x < 0 ? x : -x);  // ≤ 1: never overflows
    return (x < 0 ? e : A(1)) / (A(1) + e);
  }
  template <class A>
  FULCRUM_HD static A gradient(A dy, A y) {
    return dy * y * (A(1) - y);
  }
};

/// log(1 + exp(x)); its derivative is the sigmoid.
struct Softplus {
  static constexpr const char* kName = "softplus";
  static constexpr Saves kSaves = Saves::kInput;
  template <class A>
  FULCRUM_HD static A forward(A x) {
    return (x > 0 ? x : A(0)) + math::log1p_of_unit(math::exp(x > 0 ? -x : x));
  }
  template <class A>
  FULCRUM_HD static A gradient(A dy, A x) {
    return dy * Sigmoid::forward(x);
  }
};

/// x·Φ(x), Φ the distribution function of a standard normal (Hendrycks & Gimpel 2016, arXiv 1606.08415). Uses erfc,
/// since 1 + erf loses all digits where x is far below 0.
struct Gelu {
  static constexpr const char* kName = "gelu";
  static constexpr Saves kSaves = Saves::kInput;
  static constexpr double kSqrtHalf = 0.70710678118654752440, kInvSqrtTwoPi = 0.39894228040143267794;
  template <class A>
  FULCRUM_HD static A forward(A x) {
    return x * distribution(x);
  }
  template <class A>
  FULCRUM_HD static A gradient(A dy, A x) {
    return dy * (distribution(x) + x * A(kInvSqrtTwoPi) * math::exp(A(-0.5) * x * x));
  }
  template <class A>
  FULCRUM_HD static A distribution(A x) {
    return A(0.5) * math::erfc(x * A(-kSqrtHalf));
  }
};

/// The approximation of GELU from the same source, ½x(1 + tanh(u)) = x·σ(2u) with u = √(2/π)(x + 0.044715x³).
struct GeluTanh {
  static constexpr const char* kName = "gelu_tanh";
  static constexpr Saves kSaves = Saves::kInput;
  static constexpr double kTwoSqrtTwoOverPi = 1.59576912160573071176, kCubic = 0.044715;
  template <class A>
  FULCRUM_HD static A forward(A x) {
    return x * share(x);
  }
  template <class A>
  FULCRUM_HD static A gradient(A dy, A x) {
    const A s = share(x), slope = s * (A(1) - s);
    // Far from 0 the slope underflows to 0 long before x² overflows; without the test 0·∞ would give NaN.
    const A rest = slope > 0 ? x * slope * A(kTwoSqrtTwoOverPi) * (A(1) + A(3 * kCubic) * x * x) : A(0);
    return dy * (s + rest);
  }
  template <class A>
  FULCRUM_HD static A share(A x) {
    return Sigmoid::forward(A(kTwoSqrtTwoOverPi) * (x + A(kCubic) * x * x * x));
  }
};

/// max(x, 0); passes NaN, as PyTorch does. The gradient at 0 is 0.
struct Relu {
  static constexpr const char* kName = "relu";
  static constexpr Saves kSaves = Saves::kOutput;
  template <class A>
  FULCRUM_HD static A forward(A x) {
    return x < 0 ? A(0) : x;
  }
  template <class A>
  FULCRUM_HD static A gradient(A dy, A y) {
    return y > 0 ? dy : A(0);
  }
};

struct Neg {
  static constexpr const char* kName = "neg";
  static constexpr Saves kSaves = Saves::kOutput;
  template <class A>
  FULCRUM_HD static A forward(A x) {
    return -x;
  }
  template <class A>
  FULCRUM_HD static A gradient(A dy, A) {
    return -dy;
  }
};

struct Abs {
  static constexpr const char* kName = "abs";
  static constexpr Saves kSaves = Saves::kInput;
  template <class A>
  FULCRUM_HD static A forward(A x) {
    return std::abs(x);
  }
  template <class A>
  FULCRUM_HD static A gradient(A dy, A x) {
    return x > 0 ? dy : x < 0 ? -dy : A(0);
  }
};

struct Square {
  static constexpr const char* kName = "square";
  static constexpr Saves kSaves = Saves::kInput;
  template <class A>
  FULCRUM_HD static A forward(A x) {
    return x * x;
  }
  template <class A>
  FULCRUM_HD static A gradient(A dy, A x) {
    return dy * (x + x);
  }
};

#define FULCRUM_UNARY_FUNCTORS(X) \
  X(Exp) X(Log) X(Sqrt) X(Tanh) X(Sigmoid) X(Softplus) X(Gelu) X(GeluTanh) X(Relu) X(Neg) X(Abs) X(Square)

// Binary functors have no gradient of their own: ops_elementwise.cpp composes them.

struct Add {
  static constexpr const char* kName = "add";
  template <class A>
  FULCRUM_HD static A forward(A a, A b) {
    return a + b;
  }
};
struct Sub {
  static constexpr const char* kName = "sub";
  template <class A>
  FULCRUM_HD static A forward(A a, A b) {
    return a - b;
  }
};
struct Mul {
  static constexpr const char* kName = "mul";
  template <class A>
  FULCRUM_HD static A forward(A a, A b) {
    return a * b;
  }
};
struct Div {
  static constexpr const char* kName = "div";
  template <class A>
  FULCRUM_HD static A forward(A a, A b) {
    return a / b;
  }
};
/// NaN propagates. Two selects, which vectorise; `||` would branch.
struct Maximum {
  static constexpr const char* kName = "maximum";
  template <class A>
  FULCRUM_HD static A forward(A a, A b) {
    const A larger = a > b ? a : b;
    return a != a ? a : larger;
  }
};
struct Minimum {
  static constexpr const char* kName = "minimum";
  template <class A>
  FULCRUM_HD static A forward(A a, A b) {
    const A smaller = a < b ? a : b;
    return a != a ? a : smaller;
  }
};
/// 1 where a > b, ½ where they are equal, else 0: the share of maximum's gradient that a gets.
struct Share {
  static constexpr const char* kName = "share";
  template <class A>
  FULCRUM_HD static A forward(A a, A b) {
    return a > b ? A(1) : a < b ? A(0) : A(0.5);
  }
};
struct Equal {
  static constexpr const char* kName = "eq";
  template <class A>
  FULCRUM_HD static A forward(A a, A b) {
    return a == b ? A(1) : A(0);
  }
};

struct Greater {
  static constexpr const char* kName = "gt";
  template <class A>
  FULCRUM_HD static A forward(A a, A b) {
    return a > b ? A(1) : A(0);
  }
};
struct GreaterEqual {
  static constexpr const char* kName = "ge";
  template <class A>
  FULCRUM_HD static A forward(A a, A b) {
    return a >= b ? A(1) : A(0);
  }
};
struct Pow {
  static constexpr const char* kName = "pow";
  template <class A>
  FULCRUM_HD static A forward(A a, A b) {
    return std::pow(a, b);
  }
};
/// x where the condition holds, else 0. A select, since the product 0·x is NaN where x is infinite or NaN.
struct Keep {
  static constexpr const char* kName = "where";
  template <class A>
  FULCRUM_HD static A forward(A condition, A x) {
    return condition != 0 ? x : A(0);
  }
};
/// x where the condition does not hold, else 0.
struct Drop {
  static constexpr const char* kName = "where";
  template <class A>
  FULCRUM_HD static A forward(A condition, A x) {
    return condition != 0 ? A(0) : x;
  }
};

#define FULCRUM_BINARY_FUNCTORS(X) \
  X(Add) X(Sub) X(Mul) X(Div) X(Maximum) X(Minimum) X(Share) X(Equal) X(Greater) X(GreaterEqual) X(Pow) X(Keep) X(Drop)

}  // namespace fulcrum
