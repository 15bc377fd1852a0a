// exp, log1p, tanh and erfc of floats against those of doubles.
#include <fulcrum/core/float_math.h>

#include "testing.h"

namespace fulcrum::testing {
namespace {

// The largest error of f over [low, high], in units of the result.
double worst_error(float (*f)(float), double (*exact)(double), double low, double high) {
  constexpr int kPoints = 200000;
  double worst = 0;
  for (int i = 0; i <= kPoints; i++) {
    const auto x = static_cast<float>(low + (high - low) * i / kPoints);
    const double expected = exact(static_cast<double>(x));
    worst = std::max(worst, std::abs(static_cast<double>(f(x)) - expected) / std::abs(expected));
  }
  return worst;
}

TEST(FloatMath, KeepsTheDigitsOfAFloat) {
  EXPECT_LT(worst_error(
                math::exp<float>, [](double x) { return std::exp(x); }, -87, 88.7),
            1.2e-7);
  EXPECT_LT(worst_error(
                math::log1p_of_unit<float>, [](double x) { return std::log1p(x); }, 1e-9, 1),
            3e-7);
  EXPECT_LT(worst_error(
                math::tanh<float>, [](double x) { return std::tanh(x); }, 1e-9, 12),
            2.5e-7);
  EXPECT_LT(worst_error(
                math::tanh<float>, [](double x) { return std::tanh(x); }, -12, -1e-9),
            2.5e-7);
  EXPECT_LT(worst_error(
                math::erfc<float>, [](double x) { return std::erfc(x); }, -5, 2),
            7e-7);
  EXPECT_LT(worst_error(
                math::erfc<float>, [](double x) { return std::erfc(x); }, 2, 9),
            1e-5);
}

TEST(FloatMath, AtTheEndsOfTheRange) {
  EXPECT_EQ(math::exp(INFINITY), INFINITY);
  EXPECT_EQ(math::exp(89.0F), INFINITY);
  EXPECT_EQ(math::exp(-INFINITY), 0);
  EXPECT_EQ(math::exp(-95.0F), std::exp(-95.0F));  // not a normal number
  EXPECT_EQ(math::exp(0.0F), 1);
  EXPECT_EQ(math::tanh(INFINITY), 1);
  EXPECT_EQ(math::tanh(-INFINITY), -1);
  EXPECT_EQ(math::tanh(1e-30F), 1e-30F);
  EXPECT_TRUE(std::signbit(math::tanh(-0.0F)));
  EXPECT_EQ(math::erfc(INFINITY), 0);
  EXPECT_EQ(math::erfc(-INFINITY), 2);
  for (const float f : {math::exp(NAN), math::tanh(NAN), math::erfc(NAN), math::log1p_of_unit(NAN)})
    EXPECT_TRUE(std::isnan(f));
}

}  // namespace
}  // namespace fulcrum::testing
