// What the tests share: tensors from Philox streams, comparison of tensors, a gradient checker, a
// folder that disappears, and the golden data.
//
//   Tensor x = random_tensor({2, 3}, 7);                       // f64, in [-1, 1)
//   EXPECT_TRUE(all_close(relu(x), expected, {.relative = 1e-12}));
//   EXPECT_TRUE(gradients_match([](const Tensors& in) { return matmul(in[0], in[1]); }, {x, w}));
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <fulcrum/core/autograd.h>
#include <fulcrum/core/ops.h>
#include <fulcrum/core/serialize.h>

namespace fulcrum::testing {

using Tensors = std::vector<Tensor>;
using Function = std::function<Tensor(const Tensors&)>;

inline constexpr uint64_t kSeed = 2026;

/// Uniform in [low, high), the same numbers in every dtype up to rounding.
inline Tensor random_tensor(const Shape& shape, uint64_t stream, double low = -1, double high = 1,
                            DType dtype = DType::kF64) {
  Tensor t = empty(shape, {dtype, {}});
  fill_uniform(t, low, high, kSeed, stream);
  return t;
}

/// Where the tests of operations run: the CPU, or what FULCRUM_TEST_DEVICE says.
inline Device test_device() {
  const char* name = std::getenv("FULCRUM_TEST_DEVICE");
  return name ? Device(name) : Device();
}

inline Tensor labels_of(const std::vector<int64_t>& labels) {
  return from_vector({static_cast<int64_t>(labels.size())}, labels);
}

/// |got − expected| ≤ absolute + relative · max |expected| for every element.
struct Tolerance {
  double relative = 0;
  double absolute = 0;
};

/// Compares numbers, shape included; the message names the first element that differs.
inline ::testing::AssertionResult all_close(const Tensor& got, const Tensor& expected, Tolerance tolerance = {}) {
  if (!got.defined() || !expected.defined())
    return ::testing::AssertionFailure() << "undefined: " << got << " against " << expected;
  if (got.shape() != expected.shape())
    return ::testing::AssertionFailure() << "shape " << got.shape() << ", expected " << expected.shape();
  const auto a = got.to_vector(), b = expected.to_vector();
  double scale = 0, worst = 0;
  for (double v : b) scale = std::isfinite(v) ? std::max(scale, std::abs(v)) : scale;
  const double limit = tolerance.absolute + tolerance.relative * scale;
  size_t wrong = 0, first = 0;
  for (size_t i = a.size(); i-- > 0;) {
    const bool same = a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i]));
    if (same || std::abs(a[i] - b[i]) <= limit) continue;
    worst = std::max(worst, std::abs(a[i] - b[i]));
    first = i;
    wrong++;
  }
  if (wrong == 0) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << wrong << " of " << a.size() << " elements differ by up to " << worst
                                       << " (limit " << limit << "), first at " << first << " of " << got.shape()
                                       << ": got " << a[first] << ", expected " << b[first];
}

/// ‖got − expected‖ / ‖expected‖: one rounding that crosses a kink does not decide alone.
inline double relative_distance(const Tensor& got, const Tensor& expected) {
  const auto a = got.to_vector(), b = expected.to_vector();
  double difference = 0, norm = 0;
  for (size_t i = 0; i < b.size(); i++) {
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    norm += b[i] * b[i];
  }
  return norm > 0 ? std::sqrt(difference / norm) : std::sqrt(difference);
}

/// The same bits, shape and dtype.
inline bool same_bits(const Tensor& a, const Tensor& b) {
  const Tensor x = a.to(Device()), y = b.to(Device());
  return x.shape() == y.shape() && x.dtype() == y.dtype() && std::memcmp(x.raw(), y.raw(), x.bytes()) == 0;
}

/// Leaves with the same numbers, on the test's device; converted, but for integers.
inline Tensors leaves(const Tensors& inputs, const std::vector<bool>& wanted, const std::vector<DType>& dtypes) {
  Tensors copies;
  for (size_t i = 0; i < inputs.size(); i++) {
    Tensor host = empty(inputs[i].shape(), {is_floating(inputs[i].dtype()) ? dtypes[i] : inputs[i].dtype(), {}});
    host.copy_from(inputs[i]);
    Tensor copy = host.to(test_device());
    if (wanted[i]) copy.set_requires_grad();
    copies.push_back(copy);
  }
  return copies;
}

/// Checks the gradients of a function at f64 inputs against central differences of Σ r·f(inputs),
/// r random: element by element for up to `kElements` of each input, and along one random direction
/// through all of them.
class GradientCheck {
 public:
  GradientCheck(const Function& f, const Tensors& inputs, std::vector<bool> wanted, double tolerance)
      : f_(f),
        wanted_(wanted.empty() ? std::vector<bool>(inputs.size(), true) : std::move(wanted)),
        tolerance_(tolerance),
        at_(leaves(inputs, wanted_, std::vector<DType>(inputs.size(), DType::kF64))) {
    const Tensor y = f_(at_);
    weights_ = random_tensor(y.shape(), 990).to(y.device());
    y.backward(weights_);
  }

  ::testing::AssertionResult run() {
    for (size_t k = 0; k < at_.size(); k++) {
      if (!wanted_[k]) continue;
      const Tensor gradient = at_[k].grad();
      if (!gradient.defined() || gradient.shape() != at_[k].shape())
        return ::testing::AssertionFailure() << "input " << k << " got no gradient of its shape";
      const auto g = gradient.to_vector();
      double largest = 1;
      for (double v : g) largest = std::max(largest, std::abs(v));
      Tensor x = at_[k].detach();
      const std::string where = concat_text("gradient of input ", k, " ", x.shape());
      if (auto result = elements(where, x, g, largest); !result) return result;
      if (auto result = direction(where, x, g, largest); !result) return result;
    }
    return ::testing::AssertionSuccess();
  }

 private:
  static constexpr double kStep = 1e-5;
  static constexpr size_t kElements = 40;

  double projected() const {
    const NoGrad no_grad;
    const auto values = f_(at_).to_vector(), weights = weights_.to_vector();
    double total = 0;
    for (size_t i = 0; i < values.size(); i++) total += values[i] * weights[i];
    return total;
  }

  static ::testing::AssertionResult compare(const std::string& where, double got, double expected, double limit) {
    if (std::abs(got - expected) <= limit) return ::testing::AssertionSuccess();
    return ::testing::AssertionFailure() << where << ": got " << got << ", central difference " << expected
                                         << " (limit " << limit << ")";
  }

  ::testing::AssertionResult elements(const std::string& where, Tensor& x, const std::vector<double>& gradient,
                                      double largest) const {
    std::vector<double> values = x.to_vector();
    const auto n = values.size(), step = std::max<size_t>(1, n / kElements);
    const auto at = [&](size_t i, double value) {
      const double centre = std::exchange(values[i], value);
      x.copy_from(from_vector(x.shape(), values, {DType::kF64, {}}));
      values[i] = centre;
      return projected();
    };
    for (size_t i = 0; i < n; i += step) {
      const double above = at(i, values[i] + kStep), below = at(i, values[i] - kStep);
      auto result = compare(concat_text(where, " at element ", i), gradient[i], (above - below) / (2 * kStep),
                            tolerance_ * largest);
      if (!result) return result;
    }
    x.copy_from(from_vector(x.shape(), values, {DType::kF64, {}}));
    return ::testing::AssertionSuccess();
  }

  ::testing::AssertionResult direction(const std::string& where, Tensor& x, const std::vector<double>& gradient,
                                       double largest) const {
    const Tensor start = x.clone();
    const auto centre = start.to_vector(), along = random_tensor(x.shape(), 991).to_vector();
    double got = 0, sides[2];
    for (size_t i = 0; i < gradient.size(); i++) got += gradient[i] * along[i];
    for (int side = 0; side < 2; side++) {
      auto moved = centre;
      for (size_t i = 0; i < moved.size(); i++) moved[i] += (side == 0 ? kStep : -kStep) * along[i];
      x.copy_from(from_vector(x.shape(), moved, {DType::kF64, {}}));
      sides[side] = projected();
    }
    x.copy_from(start);
    const double limit = 10 * tolerance_ * largest * std::sqrt(static_cast<double>(x.numel()));
    return compare(where + " along a direction", got, (sides[0] - sides[1]) / (2 * kStep), limit);
  }

  const Function& f_;
  std::vector<bool> wanted_;
  double tolerance_;
  Tensors at_;
  Tensor weights_;
};

inline ::testing::AssertionResult gradients_match(const Function& f, const Tensors& inputs,
                                                  std::vector<bool> wanted = {}, double tolerance = 1e-7) {
  return GradientCheck(f, inputs, std::move(wanted), tolerance).run();
}

/// EXPECT that a statement throws an Error whose text contains `part`.
#define EXPECT_ERROR(statement, part)                                                           \
  try {                                                                                         \
    statement;                                                                                  \
    ADD_FAILURE() << #statement << " threw nothing, expected an Error with '" << (part) << "'"; \
  } catch (const ::fulcrum::Error& error) {                                                     \
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();         \
  }

/// A fresh folder, removed with all that is in it.
class TempDir {
 public:
  TempDir() {
    std::string pattern = (std::filesystem::temp_directory_path() / "fulcrum-test-XXXXXX").string();
    check(mkdtemp(pattern.data()) != nullptr, "cannot make a folder ", pattern);
    path_ = pattern;
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

inline std::filesystem::path source_path(const std::string& path) {
  return std::filesystem::path(FULCRUM_SOURCE_DIR) / path;
}

}  // namespace fulcrum::testing
