// Risks that know λ otherwise: the KL ball, which solves for it, against the definition in long
// double; and the updates of u of SCENT and SOX.
#include <cmath>
#include <limits>
#include <numeric>

#include <fulcrum/optim/risks.h>

#include "risk_testing.h"

namespace fulcrum::testing {
namespace {

// ---- KL ball ----

struct BallState {
  long double divergence, fraction;
};

// KL(p ‖ 1/n) and (Σp)²/(nΣp²) of p ∝ exp(l/λ) on the losses.
BallState ball_of(const Values& l, double lambda) {
  const long double inv = 1 / static_cast<long double>(lambda);
  long double top = -std::numeric_limits<long double>::infinity(), sum = 0, squares = 0, kl = 0;
  for (double v : l) top = std::max(top, static_cast<long double>(v) * inv);
  for (double v : l) sum += std::exp(static_cast<long double>(v) * inv - top);
  for (double v : l) {
    const long double p = std::exp(static_cast<long double>(v) * inv - top) / sum;
    squares += p * p;
    if (p > 0) kl += p * std::log(p * static_cast<long double>(l.size()));
  }
  return {kl, 1 / (squares * static_cast<long double>(l.size()))};
}

TEST(KlBallRisk, MeetsItsTargetOnTheWindow) {
  for (DType dtype : kDTypes)
    for (const bool positive : {true, false})
      for (const double scale : {1e-3, 2.0, 1e4})
        for (const double target : {0.1, 0.3, 0.8}) {
          SCOPED_TRACE(concat_text("positive ", positive, " scale ", scale, " target ", target));
          for (const bool by_fraction : {false, true}) {
            KlBallRiskOptions o{.positive = positive, .window = 96, .every = 4};
            (by_fraction ? o.fraction : o.rho) = target;
            KlBallRisk risk(o);
            Values seen;
            double last = 0;
            for (uint64_t step = 0; step < 21; step++) {
              const Tensor l = losses_of(17, step, scale, dtype);
              const Values p = risk.weights(l, {}).to_vector(), v = l.to_vector();
              seen.insert(seen.end(), v.begin(), v.end());
              if (seen.size() > 96) seen.erase(seen.begin(), seen.end() - 96);
              EXPECT_EQ(risk.lambda() > 0, positive);
              if (step % 4 == 0) {  // λ has just been solved for
                const BallState state = ball_of(seen, risk.lambda());
                EXPECT_NEAR(static_cast<double>(by_fraction ? state.fraction : state.divergence), target, 1e-6);
              }
              if (step % 4 != 0 && step > 5) {  // and stays, once the window is full
                EXPECT_EQ(risk.lambda(), last);
              }
              last = risk.lambda();
              // u is the mean of exp(l/λ) over the window, at every step.
              long double u = 0;
              const auto inv = 1 / static_cast<long double>(risk.lambda());
              for (double s : seen) u += std::exp(static_cast<long double>(s - v[0]) * inv);
              EXPECT_NEAR(p[0], static_cast<double>(static_cast<long double>(seen.size()) / u / 17), 1e-6 * (1 + p[0]));
            }
          }
        }
}

TEST(KlBallRisk, EdgesAreDefined) {
  KlBallRisk equal({.rho = 0.5, .window = 8});
  for (int step = 0; step < 3; step++)
    for (double v : equal.weights(full({4}, 2.5), {}).to_vector()) EXPECT_EQ(v, 0.25);
  EXPECT_EQ(equal.lambda(), kInfinity);
  KlBallRisk negative({.fraction = 0.5, .positive = false, .window = 8});
  EXPECT_EQ(negative.weights(full({1}, 3), {}).item(), 1);
  EXPECT_EQ(negative.lambda(), -kInfinity);
  // A divergence of 100 is beyond log n: only the largest loss is left.
  KlBallRisk beyond({.rho = 100, .window = 8});
  const Values p = beyond.weights(vector_of({1, 3, 2, 3}), {}).to_vector();
  const Values expected{0, 0.5, 0, 0.5};
  for (size_t i = 0; i < 4; i++) EXPECT_NEAR(p[i], expected[i], 1e-12);
}

TEST(KlBallRisk, WeightsAreBoundedWhateverComes) {
  for (const bool positive : {true, false})
    for (DType dtype : kDTypes) {
      KlBallRisk risk({.rho = 0.5, .positive = positive, .window = 64, .every = 7});
      for (uint64_t step = 0; step < 60; step++) {
        const double scale = step % 9 == 5 ? 1e4 : step % 13 == 2 ? 0 : 1;
        const Values p = risk.weights(losses_of(8, step, scale, dtype), {}).to_vector();
        for (double v : p) {
          ASSERT_TRUE(std::isfinite(v));
          ASSERT_GE(v, 0);
          ASSERT_LE(v, 8.001) << "n/B";
        }
        ASSERT_TRUE(std::isfinite(risk.log_u()));
      }
    }
}

// ---- SCENT, SOX ----

TEST(KlRisk, ScentTakesAStepOfMirrorDescent) {
  const double step_size = 1.5;
  for (DType dtype : kDTypes) {
    KlRisk risk({.lambda = 2, .u_update = UUpdate::kScent, .log_step = std::log(step_size)});
    long double nu = 0;
    for (uint64_t step = 0; step < 6; step++) {
      const Tensor l = losses_of(5, step, 4, dtype);
      const Values p = risk.weights(l, {}).to_vector();
      long double m = 0;
      for (double v : l.to_vector()) m += std::exp(static_cast<long double>(v) / 2) / 5;
      // As LibAUC has it, c = 1.
      nu = step == 0 ? std::log(m)
                     : nu + std::log(1 + static_cast<long double>(step_size) * m) -
                           std::log(1 + static_cast<long double>(step_size) * std::exp(nu));
      EXPECT_NEAR(risk.log_u(), static_cast<double>(nu), 1e-6);
      EXPECT_NEAR(p[2], static_cast<double>(std::exp(static_cast<long double>(l.to_vector()[2]) / 2 - nu) / 5), 1e-6);
    }
  }
}

TEST(KlRisk, ScentIsFiniteAtEveryScale) {
  for (const double lambda : {1e-6, 1e-2, 1.0, 1e6})
    for (DType dtype : kDTypes) {
      KlRisk risk({.lambda = lambda, .u_update = UUpdate::kScent});
      for (uint64_t step = 0; step < 6; step++) {
        const Values p = risk.weights(losses_of(7, step, step == 2 ? 1e4 : 1, dtype), {}).to_vector();
        for (double v : p) ASSERT_TRUE(std::isfinite(v) && v >= 0);
        ASSERT_LE(total(p), 1 + std::exp(-10) + 1e-4);
      }
    }
}

TEST(KlRisk, GammaMayBeAnnealed) {
  KlRisk annealed({.lambda = 2, .gamma = 1}), constant({.lambda = 2, .gamma = 0.4});
  annealed.weights(losses_of(5, 1, 3), {});
  constant.weights(losses_of(5, 1, 3), {});  // the first batch starts u alike
  annealed.set_gamma(0.4);
  EXPECT_TRUE(same_bits(annealed.weights(losses_of(5, 2, 3), {}), constant.weights(losses_of(5, 2, 3), {})));
  EXPECT_ERROR(annealed.set_gamma(0), "[risk] expected gamma in (0, 1]");
}

}  // namespace
}  // namespace fulcrum::testing
