// Vectors made of class counts, and φ at its limits.
#include <limits>

#include <fulcrum/core/class_vectors.h>

#include "testing.h"

namespace fulcrum::testing {
namespace {

const std::vector<int64_t> kCounts = {5000, 300, 20, 1};

void expect_vector(const Tensor& got, const std::vector<double>& expected) {
  ASSERT_EQ(got.dtype(), DType::kF32);
  const auto values = got.to_vector();
  ASSERT_EQ(values.size(), expected.size());
  for (size_t i = 0; i < expected.size(); i++)
    EXPECT_NEAR(values[i], expected[i], 1e-6 * (1 + std::abs(expected[i]))) << i;
}

TEST(ClassVectors, LdamMarginsFallWithTheFourthRoot) {
  // LDAM-DRW: 1/n^¼ · (max_m / max of those).
  std::vector<double> expected;
  for (int64_t n : kCounts) expected.push_back(0.5 / std::sqrt(std::sqrt(static_cast<double>(n))));
  expect_vector(ldam_margins(kCounts), expected);
  expect_vector(ldam_margins({16, 256}, 0.4), {0.4, 0.2});
}

TEST(ClassVectors, LogPriorIsThatOfTheCounts) {
  std::vector<double> expected, twice;
  for (int64_t n : kCounts) expected.push_back(std::log(static_cast<double>(n) / 5321));
  for (double v : expected) twice.push_back(2 * v);
  expect_vector(log_prior(kCounts), expected);
  expect_vector(log_prior(kCounts, 2), twice);
  expect_vector(log_prior({3, 0}), {0, std::log(1.0 / 3)});
}

// Balanced softmax: n_y·e^{z_y} / Σ n_c·e^{z_c}.
TEST(ClassVectors, LogPriorMakesABalancedSoftmax) {
  const Tensor z = from_vector({1, 4}, std::vector<double>{0.3, -1, 2, 0.5});
  double sum = 0;
  for (size_t c = 0; c < 4; c++) sum += static_cast<double>(kCounts[c]) * std::exp(z.to_vector()[c]);
  const double got = cross_entropy(z, labels_of({2}), {.adjust = log_prior(kCounts)}).item();
  EXPECT_NEAR(got, -std::log(20 * std::exp(2.0) / sum), 1e-5);
}

TEST(ClassVectors, TemperaturesGrowForRareClasses) {
  expect_vector(class_temperatures({100, 25, 4}, 0.5), {1, 2, 5});
  expect_vector(class_temperatures(kCounts, 0), {1, 1, 1, 1});
}

TEST(ClassVectors, BalancedWeightsSumToTheClasses) {
  expect_vector(class_balanced_weights({10, 10, 10}, 0.99), {1, 1, 1});
  expect_vector(class_balanced_weights({1, 2, 0}, 0.5), {3 / (1 + 2.0 / 3), 2 / (1 + 2.0 / 3), 0});
  expect_vector(class_balanced_weights(kCounts, 0), {1, 1, 1, 1});
}

TEST(ClassVectors, RefuseWhatHasNoMeaning) {
  EXPECT_ERROR(ldam_margins({3, 0}), "[LDAM margins] expected at least 1 sample of every class, got 0 of class 1");
  EXPECT_ERROR(class_temperatures({0, 3}, 1), "got 0 of class 0");
  EXPECT_ERROR(log_prior({0, 0}), "[log prior] expected a class with samples");
  EXPECT_ERROR(log_prior({-1, 2}), "got -1 of class 0");
  EXPECT_ERROR(log_prior({}), "expected at least one class");
  EXPECT_ERROR(class_balanced_weights({1}, 1), "[class weights] expected beta in [0, 1)");
  EXPECT_ERROR(ldam_margins({1}, 0), "[LDAM margins] expected max_m > 0");
}

// ---- φ at its limits ----

double loss_at(double logit, const Phi& phi) {
  const Tensor z = from_vector({1, 2}, std::vector<double>{logit, 0}, {DType::kF64, {}});
  return cross_entropy(z, labels_of({0}), {.phi = phi}).item();
}

double slope_at(double logit, const Phi& phi, DType dtype = DType::kF64) {
  const Tensor z = from_vector({1, 2}, std::vector<double>{logit, 0}, {dtype, {}}).set_requires_grad();
  sum(cross_entropy(z, labels_of({0}), {.phi = phi})).backward();
  return z.grad().to_vector()[0];
}

const Phi kAll[] = {Phi{},
                    Phi::focal(0),
                    Phi::focal(0.5),
                    Phi::focal(2),
                    Phi::gce(0.7),
                    Phi::gce(1),
                    Phi::truncated_gce(0.7, 0.5),
                    Phi::sce(0.1, 1),
                    Phi::mae(),
                    Phi::js(0.5),
                    Phi::js(0.01)};

TEST(PhiLimits, EveryLossIsZeroAtOneAndFiniteEverywhere) {
  for (const Phi& phi : kAll)
    for (DType dtype : {DType::kF64, DType::kF32, DType::kBf16})
      for (double z : {-1e4, -80.0, 0.0, 80.0, 1e4}) {
        const Tensor logits = from_vector({1, 2}, std::vector<double>{z, 0}, {dtype, {}});
        const double loss = cross_entropy(logits, labels_of({0}), {.phi = phi}).item();
        EXPECT_TRUE(std::isfinite(loss) && loss >= 0) << phi.kind << " " << z << " " << loss;
        if (z == 1e4) {
          EXPECT_EQ(loss, 0) << phi.kind;
        }
        const double slope = slope_at(z, phi, dtype);
        EXPECT_TRUE(std::isfinite(slope) && slope <= 0) << phi.kind << " " << z << " " << slope;
      }
}

// Near p = 1, where 1 − p from p in f32 would be 0 or 6e-8.
TEST(PhiLimits, KeepDigitsNearOne) {
  for (float l : {1e-9f, 1e-6f}) {
    EXPECT_NEAR(PhiStep<float>(Phi::mae()).value(l) / (2 * l), 1, 1e-5);
    EXPECT_NEAR(PhiStep<float>(Phi::gce(0.7)).value(l) / l, 1, 1e-5);
    EXPECT_NEAR(PhiStep<float>(Phi::focal(2)).value(l) / (l * l * l), 1, 1e-5);
    EXPECT_NEAR(PhiStep<float>(Phi::js(0.5)).value(l) / l, 1, 1e-5);
  }
}

TEST(PhiLimits, FamiliesMeetWhereTheirPapersSay) {
  for (double z : {-2.0, 0.3, 3.0}) {
    const double ce = loss_at(z, {}), miss = 1 - std::exp(-ce);
    EXPECT_NEAR(loss_at(z, Phi::focal(0)), ce, 1e-12);
    EXPECT_NEAR(loss_at(z, Phi::gce(1)), miss, 1e-12);
    EXPECT_NEAR(loss_at(z, Phi::gce(1e-9)), ce, 1e-6);
    EXPECT_NEAR(loss_at(z, Phi::truncated_gce(0.7, 1e-9)), loss_at(z, Phi::gce(0.7)), 1e-12);
    EXPECT_NEAR(loss_at(z, Phi::mae()), 2 * miss, 1e-12);
    EXPECT_NEAR(loss_at(z, Phi::sce(1, 0)), ce, 1e-12);
    // Englesson and Azizpour: JS is CE for a share of 0, half of MAE for 1.
    EXPECT_NEAR(loss_at(z, Phi::js(1e-7)), ce, 1e-4 * ce + 1e-5);
    EXPECT_NEAR(loss_at(z, Phi::js(1 - 1e-12)), miss, 0.1 * miss);
  }
  EXPECT_EQ(slope_at(-2, Phi::truncated_gce(0.7, 0.5)), 0) << "p below k";
}

TEST(PhiErrors, NameTheProblem) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_ERROR(loss_at(0, Phi::focal(-1)), "[cross_entropy] expected gamma >= 0 of the focal loss, got -1");
  for (double q : {0.0, 1.1, nan}) EXPECT_ERROR(loss_at(0, Phi::gce(q)), "expected q in (0, 1]");
  EXPECT_ERROR(loss_at(0, Phi::truncated_gce(0.7, 1)), "expected k in (0, 1)");
  EXPECT_ERROR(loss_at(0, Phi::truncated_gce(0, 0.5)), "expected q in (0, 1]");
  EXPECT_ERROR(loss_at(0, Phi::sce(-1, 1)), "expected a and b >= 0");
  for (double pi : {0.0, 1.0, nan}) EXPECT_ERROR(loss_at(0, Phi::js(pi)), "expected pi in (0, 1)");
  const Tensor z = zeros({1, 2});
  EXPECT_ERROR(cross_entropy(z, labels_of({0}), {.smoothing = 0.1, .phi = Phi::mae()}),
               "[cross_entropy] expected smoothing 0 with a phi, got 0.1");
  EXPECT_ERROR(cross_entropy(z, labels_of({0}), {.temperature = zeros({3})}),
               "[cross_entropy] expected temperature f32 [2], got f32 [3]");
  EXPECT_ERROR(ldr_kl_loss(z, labels_of({0}), {.lambda = 0}), "[ldr_kl_loss] expected lambda > 0, got 0");
  EXPECT_ERROR(ldr_kl_loss(z, labels_of({0}), {.margin = -1}), "[ldr_kl_loss] expected margin >= 0");
  EXPECT_ERROR(ldr_kl_loss(zeros({2}), labels_of({0})), "expected floating logits [B, C]");
}

}  // namespace
}  // namespace fulcrum::testing
