// The network that the tests of optimisers train.
//
//   const Mlp a, b;                              // the same parameters
//   a.train(sgd);                                // kSteps steps
//   EXPECT_TRUE(same_parameters(a.parameters, b.parameters));
#pragma once

#include "golden.h"

#include <limits>

#include <fulcrum/optim/absgd.h>

namespace fulcrum::testing {

inline constexpr double kInfinity = std::numeric_limits<double>::infinity();
inline constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
inline constexpr int kSteps = 10;

// The network of the traces: Linear(12, 16), ReLU, Linear(16, 5).
struct Mlp {
  Tensors parameters;

  explicit Mlp(DType dtype = DType::kF64) {
    const Shape shapes[] = {{16, 12}, {16}, {5, 16}, {5}};
    for (uint64_t i = 0; i < 4; i++)
      parameters.push_back(symmetric(shapes[i], 0.5, 4000 + i, 0, dtype).set_requires_grad());
  }
  Tensor losses(int step) const {
    const Tensor x = symmetric({10, 12}, 1, static_cast<uint64_t>(5000 + step), 0, parameters[0].dtype());
    std::vector<int64_t> labels;
    for (int64_t i = 0; i < 10; i++) labels.push_back((3 * i + step) % 5);
    const Tensor hidden = relu(linear(x, parameters[0], parameters[1]));
    return cross_entropy(linear(hidden, parameters[2], parameters[3]), labels_of(labels));
  }
  void train(Optimizer& opt, int from = 0, int to = kSteps) const {
    for (int step = from; step < to; step++) {
      opt.zero_grad();
      opt.weigh(losses(step)).backward();
      opt.step();
    }
  }
  Tensors snapshot() const {
    Tensors copies;
    for (const Tensor& p : parameters) copies.push_back(p.clone());
    return copies;
  }
};

inline ::testing::AssertionResult same_parameters(const Tensors& a, const Tensors& b) {
  for (size_t i = 0; i < a.size(); i++)
    if (!same_bits(a[i], b[i])) return ::testing::AssertionFailure() << "parameter " << i << " differs";
  return ::testing::AssertionSuccess();
}

}  // namespace fulcrum::testing
