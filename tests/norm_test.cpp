// What batch normalisation fuses has the bits of what it stands for: the ReLU's zeros, told by the input, and the sum of
// the two gradients of a block's result.
#include <array>

#include <fulcrum/core/autograd.h>
#include <fulcrum/core/ops.h>

#include "testing.h"

namespace fulcrum::testing {
namespace {

class Norm : public ::testing::TestWithParam<DType> {
 protected:
  DType master() const { return GetParam() == DType::kF64 ? DType::kF64 : DType::kF32; }
  static Tensor random(const Shape& shape, uint64_t stream, double low, double high, DType dtype) {
    return random_tensor(shape, stream, low, high, dtype).to(test_device());
  }
  Tensor random(const Shape& shape, uint64_t stream) const { return random(shape, stream, -1, 1, GetParam()); }
  Tensor leaf(const Shape& shape, uint64_t stream, double low, double high, DType dtype) const {
    return random(shape, stream, low, high, dtype).set_requires_grad();
  }
};

// One channel, a few and many; rows for one line and several, and elements that fill no pair of bf16.
const Shape kShapes[] = {{5, 1}, {7, 3}, {33, 17}, {40, 16}, {3, 300}, {700, 12}};

struct Inputs {
  Tensor x, residual, weight, bias;

  std::vector<Tensor> grads() const {
    std::vector<Tensor> all{x.grad(), weight.grad(), bias.grad()};
    if (residual) all.push_back(residual.grad());
    return all;
  }
};

TEST_P(Norm, TheZerosOfAReluAreThoseOfItsResult) {
  for (const Shape& shape : kShapes) {
    SCOPED_TRACE(shape);
    const int64_t c = shape[-1];
    const Tensor seed = random(shape, 9);
    const auto gradients = [&](bool fused) {
      // A weight of 0 and one below it: y is the bias there, or falls where x grows.
      const Inputs in{
          leaf(shape, 1, -1, 2, GetParam()), {}, leaf({c}, 2, -1, 1, master()), leaf({c}, 3, -1, 1, master())};
      in.weight.detach().slice(0, 1).copy_from(zeros({1}, {master(), {}}));
      const Tensor y = batch_norm(in.x, {in.weight, in.bias}, {.relu = fused});
      (fused ? y : relu(y)).backward(seed);
      return in.grads();
    };
    const auto fused = gradients(true), apart = gradients(false);
    for (size_t i = 0; i < fused.size(); i++) EXPECT_TRUE(same_bits(fused[i], apart[i])) << i;
  }
}

TEST_P(Norm, TwoGradientsAreAddedAsTheyAreRead) {
  for (const Shape& shape : kShapes)
    for (const bool relu : {false, true})
      for (const bool training : {true, false}) {
        SCOPED_TRACE(concat_text(shape, relu ? " relu" : "", training ? " training" : ""));
        const int64_t c = shape[-1];
        const Tensor first = random(shape, 7), second = random(shape, 8);
        const auto gradients = [&](bool two) {
          const Inputs in{leaf(shape, 1, -1, 2, GetParam()), leaf(shape, 4, -1, 1, GetParam()),
                          leaf({c}, 2, -1, 1, master()), leaf({c}, 3, -1, 1, master())};
          const Tensor mean = random({c}, 5, -1, 1, master()), var = random({c}, 6, 0.5, 1, master());
          const Tensor y = batch_norm(in.x, {in.weight, in.bias, mean, var},
                                      {.training = training, .residual = in.residual, .relu = relu});
          if (two) add(sum(mul(y, first)), sum(mul(y, second))).backward();
          else y.backward(add(second, first));
          return in.grads();
        };
        const auto two = gradients(true), one = gradients(false);
        for (size_t i = 0; i < two.size(); i++) EXPECT_TRUE(same_bits(two[i], one[i])) << i;
      }
}

TEST_P(Norm, AThirdGradientIsAddedToo) {
  const Shape shape{7, 3};
  const std::array<Tensor, 3> terms{random(shape, 6), random(shape, 7), random(shape, 8)};
  const auto gradients = [&](bool apart) {
    const Inputs in{leaf(shape, 1, -1, 2, GetParam()), leaf(shape, 4, -1, 1, GetParam()), leaf({3}, 2, -1, 1, master()),
                    leaf({3}, 3, -1, 1, master())};
    const Tensor y = batch_norm(in.x, {in.weight, in.bias}, {.residual = in.residual, .relu = true});
    if (apart) add(sum(mul(y, terms[0])), add(sum(mul(y, terms[1])), sum(mul(y, terms[2])))).backward();
    else y.backward(add(add(terms[2], terms[1]), terms[0]));
    return in.grads();
  };
  const auto apart = gradients(true), one = gradients(false);
  for (size_t i = 0; i < apart.size(); i++) EXPECT_TRUE(same_bits(apart[i], one[i])) << i;
}

INSTANTIATE_TEST_SUITE_P(Dtypes, Norm, ::testing::Values(DType::kF32, DType::kBf16, DType::kF64),
                         [](const auto& dtype) { return name_of(dtype.param); });

}  // namespace
}  // namespace fulcrum::testing
