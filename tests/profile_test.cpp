// What a profile counts as the work of an op.
#include <gtest/gtest.h>

#include <fulcrum/core/autograd.h>
#include <fulcrum/core/ops.h>
#include <fulcrum/core/profile.h>

namespace fulcrum::testing {
namespace {

struct ConvProfile {
  Profile profile;

  explicit ConvProfile(bool image_gradient, bool by_shape = false) {
    Tensor x = zeros({2, 4, 4, 3}), w = zeros({5, 3, 3, 3});
    x.set_requires_grad(image_gradient);
    w.set_requires_grad(true);
    profile.by_shape = by_shape;
    const Profiling on(profile);
    sum(conv2d(x, w, {}, {.padding = {1, 1}})).backward();
  }
};

constexpr double kFlop = 2.0 * (2 * 4 * 4 * 5) * (3 * 3 * 3);
constexpr double kX = 4 * 2 * 4 * 4 * 3, kW = 4 * 5 * 3 * 3 * 3, kY = 4 * 2 * 4 * 4 * 5;

TEST(Profile, CountsAConvolutionByItsDefinition) {
  const ConvProfile both(true);
  const ProfileRow forward = both.profile.rows.at("conv2d"), gradient = both.profile.rows.at("conv2d gradient");
  EXPECT_EQ(forward.calls, 1);
  EXPECT_EQ(forward.work.flop, kFlop);
  EXPECT_EQ(forward.work.bytes, kX + kW + kY);
  EXPECT_EQ(gradient.work.flop, 2 * kFlop);
  EXPECT_EQ(gradient.work.bytes, kY + 2 * (kX + kW));
}

TEST(Profile, CountsNoGradientThatNobodyNeeds) {
  const ConvProfile weights_only(false);
  const ProfileRow gradient = weights_only.profile.rows.at("conv2d gradient");
  EXPECT_EQ(gradient.work.flop, kFlop);
  EXPECT_EQ(gradient.work.bytes, kY + 2 * kW);
}

TEST(Profile, TellsShapesApart) {
  const ConvProfile shapes(true, /*by_shape=*/true);
  EXPECT_TRUE(shapes.profile.rows.contains("conv2d [2, 4, 4, 5]"));
  EXPECT_TRUE(shapes.profile.rows.contains("conv2d gradient [2, 4, 4, 5]"));
}

TEST(Profile, MatrixProductsCount) {
  Profile profile;
  {
    const Profiling on(profile);
    matmul(zeros({3, 4}), zeros({4, 5}));
  }
  EXPECT_EQ(profile.rows.at("matmul").work.flop, 2.0 * 3 * 4 * 5);
}

TEST(Profile, SeesOpsWithoutAHistoryButNotThoseInsideOfAGradient) {
  Profile profile;
  const Tensor w = ones({2, 2}).set_requires_grad();
  const Tensor y = sum(matmul(ones({2, 2}), w));
  {
    const Profiling on(profile);
    y.backward();
    const NoGrad no_grad;
    exp(w);
  }
  EXPECT_EQ(profile.rows.at("exp").calls, 1);
  EXPECT_FALSE(profile.rows.contains("matmul"));
  EXPECT_TRUE(profile.rows.contains("matmul gradient"));
}

}  // namespace
}  // namespace fulcrum::testing
