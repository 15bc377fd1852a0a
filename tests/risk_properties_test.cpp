// What every risk promises, on thousands of drawn cases (risk_cases.h): λ in ±[1e-6, 1e6], γ from 1e-12 to 1, losses
// from 0 to 1e4, batches from 1 to 4096, f32 and f64. Formulas and bounds: docs/method.md.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <fulcrum/optim/optimizer.h>

#include "risk_cases.h"
#include "risk_references.h"

namespace fulcrum::testing {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// f(draws, number) for every case, up to the first that fails.
template <class F>
void for_cases(int cases, F f) {
  for (int number = 0; number < cases && !::testing::Test::HasFailure(); number++) {
    SCOPED_TRACE(concat_text("case ", number));
    Draws draws(number);
    f(draws);
  }
}

std::vector<size_t> by_loss(const Values& l) {
  std::vector<size_t> order(l.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::sort(order, [&](size_t a, size_t b) { return l[a] < l[b]; });
  return order;
}

// Larger losses have no smaller (order = 1), or no larger weights (−1), up to rounding; equal losses equal ones.
void expect_order(const Values& l, const Values& p, int order, DType dtype) {
  const auto at = by_loss(l);
  const double slack = dtype == DType::kF64 ? 1e-14 : 1e-6;
  for (size_t i = 1; i < at.size(); i++) {
    const double before = p[at[i - 1]], after = p[at[i]];
    if (l[at[i - 1]] == l[at[i]]) ASSERT_EQ(before, after) << "of the losses " << l[at[i]];
    else if (order > 0) ASSERT_LE(before * (1 - slack), after) << "of " << l[at[i - 1]] << " and " << l[at[i]];
    else ASSERT_LE(after * (1 - slack), before) << "of " << l[at[i - 1]] << " and " << l[at[i]];
  }
}

void expect_finite(const Values& p) {
  for (double v : p) ASSERT_TRUE(std::isfinite(v) && v >= 0) << v;
}

// ---- ABSGD: the bound of the moving average, and the closed form ----

TEST(RiskProperties, KlIsFiniteBoundedOrderedAndItsClosedForm) {
  for_cases(2000, [](Draws& d) {
    const KlRiskOptions o = draw_kl(d);
    const int64_t batch = draw_size(d);
    const DType dtype = d.dtype();
    SCOPED_TRACE(concat_text(text_of(o), " B ", batch, " ", dtype));
    KlRisk risk(o);
    KlReference reference{o};
    double largest = 0;
    for (int step = 0; step < 3; step++) {
      const Tensor losses = as_losses(draw_losses(d, batch), dtype);
      const Values l = losses.to_vector(), p = risk.weights(losses, {}).to_vector(), want = reference.weights(l);
      largest = std::max(largest, std::ranges::max(l));
      const double tolerance = rounding(dtype, o.lambda, largest);
      expect_finite(p);
      // u = (1−γ)u + γαm ≥ γαm, so that Σp = m/u ≤ 1/(γα).
      const double share = static_cast<double>(reference.share);
      ASSERT_LE(total(p), (1 / (share * o.alpha) + o.additive) * (1 + tolerance));
      ASSERT_LE(1 / (share * o.alpha) + o.additive, kl_case(o, batch).most * (1 + 1e-9));
      expect_order(l, p, o.lambda > 0 ? 1 : -1, dtype);
      ASSERT_TRUE(all_close(vector_of(p), vector_of(want), {tolerance, 1e-37}));
      ASSERT_NEAR(risk.log_u(), static_cast<double>(reference.log_u), tolerance);
    }
  });
}

// The bound is met: by the first batch from u = 0, and by a batch beside which what came before is nothing.
TEST(RiskProperties, TheBoundOfTheSumIsReached) {
  for_cases(200, [](Draws& d) {
    const double gamma = draw_gamma(d), alpha = d.log_uniform(1e-3, 10), bound = 1 / (gamma * alpha);
    const int64_t batch = draw_size(d, 300);
    SCOPED_TRACE(concat_text("γ ", gamma, " α ", alpha, " B ", batch));
    KlRisk zero({.lambda = draw_lambda(d), .gamma = gamma, .alpha = alpha, .u_init = UInit::kZero});
    EXPECT_NEAR(total(zero.weights(as_losses(draw_losses(d, batch), DType::kF64), {})), bound, 2e-4 * bound);
    KlRisk small({.lambda = 1e-3, .gamma = gamma, .alpha = alpha});
    small.weights(full({batch}, 1, {DType::kF64, {}}), {});
    EXPECT_NEAR(total(small.weights(full({batch}, 5, {DType::kF64, {}}), {})), bound, 1e-9 * bound);
  });
}

// With a bound beyond f32 a weight would be infinite, and ∞·0 not a number.
TEST(RiskProperties, ABoundBeyondF32IsRefused) {
  EXPECT_ERROR(KlRisk({.lambda = 1, .gamma = 1e-40, .u_init = UInit::kZero}), "[risk] expected gamma * alpha >= 1e-30");
  EXPECT_ERROR(KlRisk({.lambda = 1, .gamma = 1e-20, .alpha = 1e-20}), "got 1e-20 * 1e-20");
  EXPECT_ERROR(KlRisk({.lambda = 1, .additive = 1e31}), "[risk] expected additive >= 0 and at most 1e30, got 1e+31");
  KlRisk risk({.lambda = 1, .alpha = 1e-20});
  EXPECT_ERROR(risk.set_gamma(1e-20), "[risk] expected gamma * alpha >= 1e-30");
  for (const double log_step : {-1e3, -80.0, 1e3}) {  // SCENT's γ depends on u: it is kept from vanishing
    KlRisk scent({.lambda = 1e-6, .u_update = UUpdate::kScent, .log_step = log_step});
    for (const double loss : {0.0, 1e4, 0.0, 1e4}) {
      Values l{loss, 0, loss / 2};
      const Values p = scent.weights(as_losses(l, DType::kF32), {}).to_vector();
      expect_finite(p);
    }
  }
}

// Weights differ from equal ones by no more than the exponents do: with R the range of all losses so far,
// exp(−R/|λ|) ≤ B p ≤ exp(R/|λ|), which goes to 1 with |λ| → ∞. At ±∞ they are the mean's, bit for bit.
TEST(RiskProperties, LargeLambdasAreTheMean) {
  for_cases(400, [](Draws& d) {
    const double lambda = draw_lambda(d);
    const int64_t batch = draw_size(d);
    const DType dtype = d.dtype();
    SCOPED_TRACE(concat_text("λ ", lambda, " B ", batch, " ", dtype));
    KlRisk risk({.lambda = lambda, .gamma = draw_gamma(d)}),
        infinite({.lambda = lambda * kInfinity, .alpha = 0.1, .additive = 1});
    MeanRisk mean;
    double low = kInfinity, high = -kInfinity;
    for (int step = 0; step < 3; step++) {
      const Tensor losses = as_losses(draw_losses(d, batch), dtype);
      const auto [least, most] = std::ranges::minmax(losses.to_vector());
      low = std::min(low, least), high = std::max(high, most);
      const double factor = std::exp((high - low) / std::abs(lambda)), slack = 1 + rounding(dtype, lambda, high);
      for (double v : risk.weights(losses, {}).to_vector()) {
        ASSERT_LE(v * static_cast<double>(batch), factor * slack);
        ASSERT_GE(v * static_cast<double>(batch), 1 / (factor * slack) - 1e-30);  // less than f32 has
      }
      ASSERT_TRUE(same_bits(infinite.weights(losses, {}), mean.weights(losses, {})));
    }
  });
}

// ---- every risk ----

TEST(RiskProperties, EveryRiskIsFiniteBoundedAndOrdered) {
  for_cases(1500, [](Draws& d) {
    const RiskCase c = draw_risk(d, draw_size(d));
    const DType dtype = d.dtype();
    SCOPED_TRACE(concat_text(c.text, " B ", c.batch, " ", dtype));
    const auto risk = c.make({});
    for (int step = 0; step < 3; step++) {
      const Tensor losses = as_losses(draw_losses(d, c.batch), dtype);
      const auto groups = draw_groups(d, c);
      const Values l = losses.to_vector(), p = risk->weights(losses, {.groups = labels_of(groups)}).to_vector();
      expect_finite(p);
      const double slack = 1 + 1e-12 + rounding(c, dtype);  // 4096 terms
      ASSERT_LE(total(p), c.most * slack);
      ASSERT_GE(total(p), c.least / slack);
      if (c.order != 0) {
        expect_order(l, p, c.order, dtype);
        continue;
      }
      std::vector<double> of_group(static_cast<size_t>(c.groups), -1);
      for (size_t i = 0; i < p.size(); i++) {
        double& first = of_group[static_cast<size_t>(groups[i])];
        if (first < 0) first = p[i];
        ASSERT_EQ(p[i], first);
      }
    }
  });
}

TEST(RiskProperties, RisksOfOneBatchAreTheirClosedForms) {
  for_cases(400, [](Draws& d) {
    const DType dtype = d.dtype();
    const double level = d.log_uniform(1e-4, 1), rho = d.log_uniform(1e-6, 1e3), tau = d.log_uniform(1e-3, 1e3);
    const Tensor losses = as_losses(draw_losses(d, draw_size(d, 200)), dtype);
    const Values l = losses.to_vector();
    SCOPED_TRACE(concat_text("level ", level, " ρ ", rho, " τ ", tau, " B ", l.size(), " ", dtype));
    const auto expect = [&](Risk&& risk, const Values& want, double tolerance) {
      EXPECT_TRUE(all_close(risk.weights(losses, {}), vector_of(want), {tolerance + (dtype == DType::kF32 ? 1e-6 : 0)}))
          << risk.name();
    };
    expect(CvarRisk(level), cvar_reference(l, level), 1e-9);
    expect(RgdRisk(tau), rgd_reference(l, tau), 1e-13);
    expect(Chi2Risk(rho), chi2_reference(l, rho), 1e-5);
  });
}

TEST(RiskProperties, EveryRiskHasTheMeanAsALimit) {
  for_cases(200, [](Draws& d) {
    const int64_t batch = draw_size(d, 1000);
    const Tensor losses = as_losses(draw_losses(d, batch), DType::kF64);
    SCOPED_TRACE(concat_text("B ", batch));
    const auto expect = [&](Risk&& risk, double tolerance) {
      for (double v :
           risk.weights(losses, {.groups = labels_of(std::vector<int64_t>(static_cast<size_t>(batch)))}).to_vector())
        ASSERT_NEAR(v * static_cast<double>(batch), 1, tolerance) << risk.name();
    };
    expect(CvarRisk(1), 1e-12);
    expect(RgdRisk(0), 1e-12);
    expect(GroupRisk({.groups = 1}), 1e-12);
    // ½·mean((Bp−1)²) ≤ ρ, and KL ≥ that up to the third order: |Bp−1| ≤ √(2ρB).
    expect(Chi2Risk(1e-12), std::sqrt(2e-12 * static_cast<double>(batch)) + 1e-9);
    expect(KlBallRisk({.rho = 1e-10, .window = batch}), 2 * std::sqrt(2e-10 * static_cast<double>(batch)) + 1e-9);
  });
}

// ---- what must not matter ----

// The order of the samples.
TEST(RiskProperties, WeightsFollowTheirSamples) {
  for_cases(600, [](Draws& d) {
    const RiskCase c = draw_risk(d, draw_size(d, 1000));
    const DType dtype = d.dtype();
    SCOPED_TRACE(concat_text(c.text, " B ", c.batch, " ", dtype));
    const auto risk = c.make({}), other = c.make({});
    for (int step = 0; step < 3; step++) {
      const Values l = draw_losses(d, c.batch);
      const auto groups = draw_groups(d, c);
      std::vector<size_t> at(l.size());
      std::iota(at.begin(), at.end(), size_t{0});
      for (size_t i = at.size(); i > 1; i--) std::swap(at[i - 1], at[d.below(static_cast<uint32_t>(i))]);
      Values moved;
      std::vector<int64_t> moved_groups;
      for (size_t i : at) moved.push_back(l[i]), moved_groups.push_back(groups[i]);
      const Values p = risk->weights(as_losses(l, dtype), {.groups = labels_of(groups)}).to_vector();
      Values want;
      for (size_t i : at) want.push_back(p[i]);
      ASSERT_TRUE(all_close(other->weights(as_losses(moved, dtype), {.groups = labels_of(moved_groups)}),
                            vector_of(want), {rounding(c, dtype), 1e-37}));
    }
  });
}

// A number added to all losses. They are multiples of 2^-10 below 2^13, so that sums are exact in f32.
TEST(RiskProperties, WeightsDependOnDifferencesOfLosses) {
  for_cases(600, [](Draws& d) {
    const RiskCase c = draw_risk(d, draw_size(d, 1000));
    const DType dtype = d.dtype();
    const double added = std::round(d.uniform(0, 0x1p23)) * 0x1p-10;
    SCOPED_TRACE(concat_text(c.text, " B ", c.batch, " ", dtype, " and ", added));
    const auto risk = c.make({}), other = c.make({});
    for (int step = 0; step < 3 && c.shifts; step++) {
      Values l = draw_losses(d, c.batch);
      for (double& v : l) v = std::round(std::min(v, 8000.0) * 0x1p10) * 0x1p-10;
      const Tensor p = risk->weights(as_losses(l, dtype), {});
      for (double& v : l) v += added;
      // Only KlRisk keeps sums of exp(l/λ) of other batches; others see the same differences, bit for bit.
      const double tolerance = std::isfinite(c.lambda) ? rounding(dtype, c.lambda, 4 * kLargestLoss) : 0;
      ASSERT_TRUE(all_close(other->weights(as_losses(l, dtype), {}), p, {tolerance, tolerance > 0 ? 1e-37 : 0}));
    }
  });
}

// The unit of the losses, if λ has the same: bit for bit, for a power of two.
TEST(RiskProperties, WeightsDependOnRatiosOfLossesToLambda) {
  for_cases(600, [](Draws& d) {
    const RiskCase c = draw_risk(d, draw_size(d, 1000));
    if (!c.scales) return;
    const DType dtype = d.dtype();
    const double factor = d.one_of({0x1p-7, 0.5, 8.0});
    SCOPED_TRACE(concat_text(c.text, " B ", c.batch, " ", dtype, " times ", factor));
    const auto risk = c.make({}), other = c.make_scaled(factor);
    for (int step = 0; step < 3; step++) {
      const Tensor losses = as_losses(draw_losses(d, c.batch), dtype);
      ASSERT_TRUE(same_bits(risk->weights(losses, {}), other->weights(losses * factor, {})));
    }
  });
}

// A batch with a loss that is not finite: p = 0, and what follows is as if it had never been.
TEST(RiskProperties, ALossThatIsNotFiniteLeavesNoTrace) {
  for_cases(600, [](Draws& d) {
    const RiskCase c = draw_risk(d, draw_size(d, 1000));
    if (c.text == "mean") return;  // looks at no loss
    const DType dtype = d.dtype();
    const double bad = d.one_of({kNan, kInfinity, -kInfinity});
    SCOPED_TRACE(concat_text(c.text, " B ", c.batch, " ", dtype, " and ", bad));
    const auto risk = c.make({}), other = c.make({});
    for (int step = 0; step < 3; step++) {
      const Values l = draw_losses(d, c.batch);
      const Tensor groups = labels_of(draw_groups(d, c));
      Values poisoned = l;
      poisoned[d.below(static_cast<uint32_t>(l.size()))] = bad;
      for (double v : risk->weights(as_losses(poisoned, dtype), {.groups = groups}).to_vector()) ASSERT_EQ(v, 0);
      ASSERT_TRUE(same_bits(risk->weights(as_losses(l, dtype), {.groups = groups}),
                            other->weights(as_losses(l, dtype), {.groups = groups})));
      for (const auto& [key, t] : risk->state()) ASSERT_TRUE(same_bits(t, other->state().at(key))) << key;
    }
  });
}

// ---- a step ----

// Logits of f32 and bf16, up to ±1e4, through the loss, the weights and back: the gradient is finite and
// p (softmax − e_y), rounded to the dtype of the logits.
TEST(RiskProperties, GradientsOfF32AndBf16AreFinite) {
  for_cases(300, [](Draws& d) {
    const RiskCase c = draw_risk(d, draw_size(d, 64));
    const DType dtype = d.one_of({DType::kF32, DType::kBf16});
    const int64_t classes = 2 + d.below(9);
    const double scale = d.log_uniform(1e-2, kLargestLoss);
    SCOPED_TRACE(concat_text(c.text, " B ", c.batch, " C ", classes, " ", dtype, " logits to ", scale));
    Tensor parameter = zeros({1}).set_requires_grad();
    Sgd opt({parameter}, {.lr = 0.1});
    opt.set_risk(c.make({}));
    for (int step = 0; step < 2; step++) {
      Values z;
      for (int64_t i = 0; i < c.batch * classes; i++) z.push_back(d.uniform(-scale, scale));
      std::vector<int64_t> labels;
      for (int64_t i = 0; i < c.batch; i++) labels.push_back(d.below(static_cast<uint32_t>(classes)));
      const Tensor logits = from_vector({c.batch, classes}, z, {dtype, {}}).set_requires_grad();
      opt.weigh(cross_entropy(logits, labels_of(labels)), {.groups = labels_of(draw_groups(d, c))}).backward();
      const Values p = opt.weights().to_vector(), share = softmax(logits.detach().to(DType::kF64)).to_vector();
      Values want;
      for (int64_t i = 0; i < c.batch * classes; i++) {
        const auto row = static_cast<size_t>(i / classes);
        const double target = i % classes == labels[row] ? 1 : 0;
        want.push_back(p[row] * (share[static_cast<size_t>(i)] - target));
      }
      for (double v : logits.grad().to_vector()) ASSERT_TRUE(std::isfinite(v));
      // softmax − 1 keeps few digits in f32 where the loss is nearly 0.
      ASSERT_TRUE(all_close(logits.grad(), from_vector(logits.shape(), want, {DType::kF64, {}}),
                            {dtype == DType::kF32 ? 1e-5 : 0x1p-8, 0x1p-22 * std::ranges::max(p) + 1e-37}));
      EXPECT_TRUE(opt.finite());
    }
  });
}

}  // namespace
}  // namespace fulcrum::testing
