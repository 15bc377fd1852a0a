// ALDR-KL: how the λ of a sample follows the network, and that the loss is LDR-KL where it has not moved. Values and
// gradients of the loss are rows of the table of operations.
#include <cmath>

#include "testing.h"

#include <fulcrum/core/ops.h>

namespace fulcrum::testing {
namespace {

// λ of one row of logits, from the formula, in f64.
double adapted(const std::vector<double>& z, double lambda, const AldrKlArgs& args) {
  const auto classes = static_cast<double>(z.size());
  std::vector<double> h;
  double total = 0;
  for (const double v : z) h.push_back(std::log1p(std::exp(v)));
  for (const double v : h) total += v;
  double mass = 0, kl = 0;
  for (double& v : h) mass += std::exp(v = v * classes / total / lambda);
  for (const double v : h) kl += std::exp(v) / mass * std::log(classes * std::exp(v) / mass);
  return args.lambda0 * (1 - kl / (args.alpha * std::log(classes)));
}

TEST(AldrKl, LambdasAreThoseOfTheFormulaAtTheLastOnes) {
  const std::vector<std::vector<double>> rows = {{0.3, -1, 2}, {4, -4, -4}, {1, 1, 1}};
  std::vector<double> flat;
  for (const auto& row : rows) flat.insert(flat.end(), row.begin(), row.end());
  for (const AldrKlArgs& args : {AldrKlArgs{}, AldrKlArgs{.lambda0 = 0.5, .alpha = 1.25}}) {
    Tensor table = full({7}, args.lambda0);
    const Tensor logits = from_vector({3, 3}, flat, {DType::kF64, {}}), indices = labels_of({5, 0, 2});
    std::vector<double> last(3, args.lambda0);
    for (int visit = 0; visit < 3; visit++) {
      const auto got = adapt_lambdas(table, logits, indices, args).to_vector();
      for (size_t i = 0; i < 3; i++) {
        EXPECT_NEAR(got[i], adapted(rows[i], last[i], args), 1e-6) << "visit " << visit << " row " << i;
        last[i] = static_cast<float>(got[i]);
      }
      const auto all = table.to_vector();
      EXPECT_EQ(std::vector<double>({all[5], all[0], all[2]}), last);
      for (const size_t other : {1, 3, 4, 6}) EXPECT_EQ(all[other], static_cast<float>(args.lambda0));
    }
    EXPECT_NEAR(last[2], args.lambda0, 1e-7) << "equal logits: nothing is known, λ stays the largest";
    EXPECT_LT(last[1], last[0]) << "the surer, the smaller";
    for (const double l : last) EXPECT_GE(l, args.lambda0 * (1 - 1 / args.alpha));
  }
}

TEST(AldrKl, AtTheLargestLambdaItIsLdrKl) {
  const Tensor z = random_tensor({6, 5}, 3, -3, 3, DType::kF64), y = labels_of({0, 1, 2, 3, 4, 0});
  const Tensor lambdas = full({6}, 1.5, {DType::kF64, {}}), w = random_tensor({5}, 4, 0.5, 2, DType::kF64);
  const Tensor aldr = aldr_kl_loss(z, y, lambdas, {.margin = 0.7, .lambda0 = 1.5, .alpha = 3, .class_weight = w});
  EXPECT_TRUE(all_close(aldr, ldr_kl_loss(z, y, {.margin = 0.7, .lambda = 1.5, .class_weight = w}), {1e-12}));
}

TEST(AldrKl, LambdasAreHeldConstant) {
  Tensor z = random_tensor({2, 3}, 5, -1, 1, DType::kF64).set_requires_grad(), lambdas = ones({2}, {DType::kF64, {}});
  lambdas.set_requires_grad();
  sum(aldr_kl_loss(z, labels_of({0, 2}), lambdas)).backward();
  EXPECT_TRUE(z.grad().defined());
  EXPECT_FALSE(lambdas.grad().defined());
}

TEST(AldrKl, OfASampleThatIsThereTwiceTheLastVisitStays) {
  Tensor table = full({2}, 1);
  const Tensor z = from_vector({2, 2}, std::vector<double>{0, 0, 9, -9});
  const auto got = adapt_lambdas(table, z, labels_of({1, 1})).to_vector();
  EXPECT_NE(got[0], got[1]);
  EXPECT_EQ(table.to_vector(), (std::vector<double>{1, got[1]}));
}

TEST(AldrKl, ARowThatIsNotFiniteKeepsItsLambda) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  Tensor table = full({3}, 0.75);
  adapt_lambdas(table, from_vector({2, 2}, std::vector<double>{nan, 0, 1, 2}), labels_of({0, 2}));
  const auto all = table.to_vector();
  EXPECT_EQ(all[0], 0.75);
  EXPECT_NE(all[2], 0.75);
}

TEST(AldrKl, ErrorsNameTheProblem) {
  Tensor table = full({3}, 1);
  const Tensor z = zeros({2, 3}), y = labels_of({0, 1}), lambdas = ones({2});
  EXPECT_ERROR(aldr_kl_loss(z, y, lambdas, {.alpha = 1}), "[aldr_kl_loss] expected alpha > 1, got 1");
  EXPECT_ERROR(aldr_kl_loss(z, y, lambdas, {.lambda0 = 0}), "[aldr_kl_loss] expected lambda0 > 0, got 0");
  EXPECT_ERROR(aldr_kl_loss(z, y, lambdas, {.margin = -1}), "expected margin >= 0, got -1");
  EXPECT_ERROR(aldr_kl_loss(z, y, ones({3})), "[aldr_kl_loss] expected lambdas f32 [2], got f32 [3]");
  EXPECT_ERROR(aldr_kl_loss(zeros({2, 1}), y, lambdas), "of two classes or more, got [2, 1]");
  EXPECT_ERROR(adapt_lambdas(table, z, labels_of({0})), "[adapt_lambdas] expected indices i64 [2], got i64 [1]");
  EXPECT_ERROR(adapt_lambdas(table, z, labels_of({0, 3})), "[adapt_lambdas] expected indices in [0, 3), got 3 at 1");
  EXPECT_ERROR(adapt_lambdas(table, z, labels_of({-1, 0})), "[adapt_lambdas] expected indices in [0, 3), got -1 at 0");
  table = zeros({3, 1});
  EXPECT_ERROR(adapt_lambdas(table, z, y), "[adapt_lambdas] expected a table f32 [N], got f32 [3, 1]");
}

}  // namespace
}  // namespace fulcrum::testing
