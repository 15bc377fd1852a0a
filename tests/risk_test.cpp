// Risks: the weights of ABSGD in closed form, at extremes, and through changes of λ.
#include <cmath>
#include <limits>

#include <fulcrum/optim/absgd.h>

#include "risk_references.h"

namespace fulcrum::testing {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// ---- closed forms ----

TEST(KlRisk, EqualsItsClosedForm) {
  for (UInit start : {UInit::kFirstBatch, UInit::kZero})
    for (double lambda : {0.5, 5.0, -0.5, -5.0})
      for (double gamma : {0.1, 0.9, 1.0})
        for (double alpha : {1.0, 0.1})
          for (double additive : {0.0, 1.0})
            for (DType dtype : kDTypes) {
              SCOPED_TRACE(concat_text("λ ", lambda, " γ ", gamma, " α ", alpha, " additive ", additive, " ", dtype));
              const KlRiskOptions o{lambda, gamma, alpha, additive, start};
              KlRisk risk(o);
              KlReference reference{o};
              for (uint64_t step = 0; step < 5; step++) {
                const Tensor l = losses_of(7, step, 4, dtype);
                const Tensor p = risk.weights(l, {});
                EXPECT_EQ(p.dtype(), dtype);
                const double tolerance = dtype == DType::kF64 ? 1e-13 : 1e-6;
                EXPECT_TRUE(
                    all_close(p, from_vector({7}, reference.weights(l.to_vector()), {DType::kF64, {}}), {tolerance}));
                EXPECT_NEAR(risk.log_u(), static_cast<double>(reference.log_u), 20 * tolerance);
              }
            }
}

// γ = 1 is the tilted loss on the batch: a softmax.
TEST(KlRisk, WithGammaOneIsASoftmax) {
  for (double lambda : {0.7, -3.0}) {
    KlRisk risk({.lambda = lambda, .gamma = 1});
    for (uint64_t step = 0; step < 3; step++) {
      const Tensor l = losses_of(9, step, 5, DType::kF64);
      EXPECT_TRUE(all_close(risk.weights(l, {}), softmax(l / lambda), {1e-13}));
    }
  }
}

TEST(KlRisk, EqualLossesGetEqualWeights) {
  for (double lambda : {1e-6, -1e-6, 0.3, -2.0, 1e6}) {
    for (double loss : {0.0, 0.7, 1e4}) {
      KlRisk risk({.lambda = lambda});
      const auto p = risk.weights(full({5}, loss), {}).to_vector();
      for (double v : p) EXPECT_NEAR(v, 0.2, 1e-6) << lambda << " " << loss;
    }
  }
}

TEST(KlRisk, TheSignOfLambdaSaysWhoIsHeard) {
  const Tensor l = from_vector({3}, std::vector<double>{0.1, 1, 3});
  const auto hard = KlRisk({.lambda = 1}).weights(l, {}).to_vector();
  EXPECT_LT(hard[0], hard[1]);
  EXPECT_LT(hard[1], hard[2]);
  const auto easy = KlRisk({.lambda = -1}).weights(l, {}).to_vector();
  EXPECT_GT(easy[0], easy[1]);
  EXPECT_GT(easy[1], easy[2]);
}

TEST(KlRisk, OfInfiniteLambdaIsTheMean) {
  for (double lambda : {kInfinity, -kInfinity}) {
    KlRisk risk({.lambda = lambda, .alpha = 0.1, .additive = 1});
    MeanRisk mean;
    for (int64_t batch : {1, 3, 7, 128}) {
      const Tensor l = losses_of(batch, 1, 1e4, DType::kF32);
      EXPECT_TRUE(same_bits(risk.weights(l, {}), mean.weights(l, {})));
      EXPECT_EQ(mean.weights(l, {}).to_vector()[0], static_cast<double>(1.0f / static_cast<float>(batch)));
    }
    EXPECT_EQ(risk.log_u(), -kInfinity);
  }
}

// ---- extremes ----

// u ≥ γαm always, so p_i ≤ 1/(γα) and Σp ≤ 1/(γα), and additive on top.
TEST(KlRisk, IsFiniteAndBoundedAtEveryScale) {
  for (double magnitude = 1e-6; magnitude < 2e6; magnitude *= 10)
    for (double lambda : {magnitude, -magnitude})
      for (double scale : {1e-4, 1.0, 1e4})
        for (int64_t batch : {1, 7, 128})
          for (UInit start : {UInit::kFirstBatch, UInit::kZero})
            for (DType dtype : kDTypes) {
              SCOPED_TRACE(concat_text("λ ", lambda, " losses to ", scale, " B ", batch, " ", dtype));
              const KlRiskOptions o{lambda, 0.3, 0.5, 1, start};
              KlRisk risk(o);
              KlReference reference{o};
              const double bound = 1 / (0.3 * 0.5), slack = 1 + 1e-4, size = static_cast<double>(batch);
              for (uint64_t step = 0; step < 4; step++) {
                // The second batch is extreme, the third and fourth are ordinary again.
                const Tensor l = losses_of(batch, step, step == 1 ? scale : 1, dtype);
                const Tensor p = risk.weights(l, {});
                for (double v : p.to_vector()) {
                  ASSERT_TRUE(std::isfinite(v));
                  ASSERT_GE(v, 0);
                  ASSERT_LE(v, (bound + 1 / size) * slack);
                }
                ASSERT_LE(total(p), (bound + 1) * slack);
                ASSERT_TRUE(std::isfinite(risk.log_u()));
                // l/λ reaches 1e10: one unit in the last place of f64 is then 2e-6 of a weight.
                const double tolerance = dtype == DType::kF64 ? 2e-5 : 1e-4;
                ASSERT_TRUE(all_close(p, from_vector({batch}, reference.weights(l.to_vector()), {DType::kF64, {}}),
                                      {tolerance, 1e-7}));
              }
            }
}

TEST(KlRisk, OneSampleOfOneBatchGetsAllThereIs) {
  for (double lambda : {1e-6, -1e-6, 3.0, 1e6}) {
    KlRisk risk({.lambda = lambda, .gamma = 0.25});
    EXPECT_NEAR(risk.weights(full({1}, 2.5), {}).item(), 1, 1e-6) << lambda;
  }
}

TEST(KlRisk, AnExtremeBatchIsRemembered) {
  KlRisk risk({.lambda = 0.01, .gamma = 0.5});
  risk.weights(full({4}, 100), {});
  EXPECT_LT(total(risk.weights(full({4}, 1), {})), 1e-30) << "that is the method";
}

// ---- changing λ ----

TEST(SetLambda, BetweenFiniteValuesUStartsAnew) {
  KlRisk risk({.lambda = 1, .gamma = 0.3});
  risk.weights(losses_of(5, 1, 3, DType::kF64), {});
  risk.set_lambda(2);
  EXPECT_EQ(risk.lambda(), 2);
  EXPECT_EQ(risk.log_u(), -kInfinity);
  const Tensor l = losses_of(5, 2, 3, DType::kF64);
  EXPECT_TRUE(all_close(risk.weights(l, {}), KlRisk({.lambda = 2, .gamma = 0.3}).weights(l, {}), {1e-14}));
}

TEST(SetLambda, KeepsUWhereAsked) {
  const KlRiskOptions o{.lambda = 1, .gamma = 0.3, .keep_u = true};
  KlRisk risk(o);
  risk.weights(losses_of(5, 1, 3, DType::kF64), {});
  const double before = risk.log_u();
  risk.set_lambda(-2);
  EXPECT_EQ(risk.lambda(), -2);
  EXPECT_EQ(risk.log_u(), before);
}

TEST(SetLambda, ToTheSameValueChangesNothing) {
  KlRisk risk({.lambda = 1.7});
  risk.weights(losses_of(5, 1, 3, DType::kF64), {});
  const double before = risk.log_u();
  risk.set_lambda(1.7);
  EXPECT_EQ(risk.log_u(), before);
}

TEST(SetLambda, FromInfinityUStartsByItsRule) {
  for (UInit start : {UInit::kFirstBatch, UInit::kZero}) {
    KlRisk risk({.gamma = 0.3, .u_init = start});
    for (uint64_t step = 0; step < 3; step++) risk.weights(losses_of(5, step, 3, DType::kF64), {});
    risk.set_lambda(2);
    const Tensor l = losses_of(5, 9, 3, DType::kF64);
    EXPECT_TRUE(same_bits(risk.weights(l, {}), KlRisk({.lambda = 2, .gamma = 0.3, .u_init = start}).weights(l, {})));
  }
}

TEST(SetLambda, TravelsWithTheState) {
  KlRisk saved({.lambda = 3, .gamma = 0.3}), loaded({.lambda = 1, .gamma = 0.3});
  saved.weights(losses_of(5, 1, 3, DType::kF64), {});
  loaded.load_state_dict(saved.state_dict());
  EXPECT_EQ(loaded.lambda(), 3);
  const Tensor l = losses_of(5, 2, 3, DType::kF64);
  EXPECT_TRUE(same_bits(saved.weights(l, {}), loaded.weights(l, {})));
}

// ---- what is logged ----

TEST(RiskSummary, AveragesOverTheSteps) {
  KlRisk risk({.lambda = 2, .gamma = 1});
  EXPECT_EQ(risk.summary().steps, 0);
  double log_mean = 0, fraction = 0;
  for (uint64_t step = 0; step < 3; step++) {
    const Tensor l = losses_of(6, step, 3, DType::kF64);
    const auto p = risk.weights(l, {}).to_vector();
    double m = 0, squares = 0;
    for (double v : l.to_vector()) m += std::exp(v / 2) / 6;
    for (double v : p) squares += v * v;
    log_mean += std::log(m) / 3;
    fraction += 1 / (6 * squares) / 3;
  }
  const RiskSummary s = risk.summary();
  EXPECT_EQ(s.steps, 3);
  EXPECT_NEAR(s.log_mean_exp, log_mean, 1e-12);
  EXPECT_NEAR(s.weight_sum, 1, 1e-12);
  EXPECT_NEAR(s.effective_fraction, fraction, 1e-12);
  risk.reset_summary();
  EXPECT_EQ(risk.summary().steps, 0);
}

// ---- the mean with class weights ----

TEST(MeanRisk, DividesByTheClassWeightsOfTheBatch) {
  MeanRisk risk(MeanOptions{from_vector({3}, std::vector<double>{1, 2, 5})});
  const Tensor l = losses_of(4, 1, 3, DType::kF32), groups = labels_of({0, 2, 2, 1});
  BatchContext context{{}, groups};
  for (double v : risk.weights(l, context).to_vector()) EXPECT_NEAR(v, 1.0 / 13, 1e-8);
  EXPECT_NEAR(risk.summary().effective_fraction, 1, 1e-12);
  risk.set_class_weight(from_vector({3}, std::vector<double>{1, 1, 0}));
  for (double v : risk.weights(l, context).to_vector()) EXPECT_NEAR(v, 0.5, 1e-7);
  risk.set_class_weight(zeros({3}));
  for (double v : risk.weights(l, context).to_vector()) EXPECT_EQ(v, 0) << "no class has a weight";
  risk.set_class_weight({});
  for (double v : risk.weights(l, {}).to_vector()) EXPECT_EQ(v, 0.25);
}

// PyTorch's cross_entropy(weight=…, reduction="mean") is Σ w l / Σ w.
TEST(MeanRisk, ClassWeightsOfAnotherDtypeAreNamed) {
  MeanRisk risk(MeanOptions{ones({3}, {DType::kF64, {}})});
  EXPECT_ERROR(risk.weights(ones({2}), {{}, labels_of({0, 1}), 2}),
               "[risk] expected class weights f32 [C] on cpu like the losses, got f64 [3] on cpu");
}

TEST(MeanRisk, WithWeightedLossesIsPyTorchsMean) {
  const Tensor w = from_vector({3}, std::vector<double>{1, 2, 5}), labels = labels_of({0, 2, 2, 1});
  const Tensor z = random_tensor({4, 3}, 1, -2, 2, DType::kF32);
  Tensor parameter = zeros({1}).set_requires_grad();
  Sgd opt({parameter}, {.lr = 0.1});
  opt.set_risk(std::make_unique<MeanRisk>(MeanOptions{w}));
  const Tensor plain = cross_entropy(z, labels);
  const CrossEntropyArgs weighted{.class_weight = w};
  const double got = opt.weigh(cross_entropy(z, labels, weighted) + parameter, BatchContext{{}, labels}).item();
  double numerator = 0;
  const double weights[] = {1, 5, 5, 2};
  for (size_t i = 0; i < 4; i++) numerator += weights[i] * plain.to_vector()[i];
  EXPECT_NEAR(got, numerator / 13, 1e-6);
}

TEST(Weigh, TheWeightsCarryNoGradient) {
  const Tensor l = losses_of(4, 1, 3, DType::kF64).set_requires_grad();
  Tensor parameter = zeros({1}, {DType::kF64, {}}).set_requires_grad();
  Absgd opt({parameter}, {.lr = 0.1, .lambda = 1});
  opt.weigh(l).backward();
  EXPECT_TRUE(all_close(l.grad(), opt.weights(), {1e-15}));
  EXPECT_FALSE(opt.batch().losses.requires_grad()) << "the batch would keep its graph alive";
  EXPECT_FALSE(opt.batch().weights.requires_grad());
}

// ---- errors ----

TEST(RiskErrors, NameTheProblem) {
  for (double lambda : {0.0, -0.0, kNan, 1e-31, -1e-320}) {
    EXPECT_ERROR(KlRisk({.lambda = lambda}), "[risk] expected |lambda| >= 1e-30 (inf for plain SGD), got ");
    KlRisk risk({.lambda = 1});
    EXPECT_ERROR(risk.set_lambda(lambda), "[risk] expected |lambda| >= 1e-30 (inf for plain SGD), got ");
    EXPECT_EQ(risk.lambda(), 1);
  }
  for (double gamma : {0.0, -0.1, 1.1, kNan}) EXPECT_ERROR(KlRisk({.gamma = gamma}), "[risk] expected gamma in (0, 1]");
  for (double alpha : {0.0, -1.0, kNan, kInfinity}) EXPECT_ERROR(KlRisk({.alpha = alpha}), "[risk] expected alpha > 0");
  for (double extra : {-1.0, kNan, kInfinity})
    EXPECT_ERROR(KlRisk({.additive = extra}), "[risk] expected additive >= 0");
  MeanRisk weighted(MeanOptions{ones({3})});
  EXPECT_ERROR(weighted.weights(zeros({2}), {}), "[risk] expected a group for each of the 2 losses");
  EXPECT_ERROR(weighted.weights(zeros({2}), {{}, labels_of({0, 1, 2})}), "[risk] expected a group for each of the 2");
  EXPECT_ERROR(weighted.weights(zeros({2}), {{}, labels_of({0, 3})}), "[risk] expected groups in [0, 3), got 3");
  EXPECT_ERROR(weighted.weights(zeros({2}), {{}, labels_of({-1, 0})}), "got -1");
}

}  // namespace
}  // namespace fulcrum::testing
