// CVaR, χ², RGD and groups against closed forms and exact solvers in long double, at ties and
// extremes; and every risk in training and with bad input.
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include <fulcrum/optim/optimizer.h>
#include <fulcrum/optim/risks.h>

#include "risk_references.h"

namespace fulcrum::testing {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
// Batches of several sizes: random, with ties, all equal, huge.
std::vector<Values> batches() {
  std::vector<Values> rows = {{2.5}, {0}, {1, 1}, {0, 3}, {0, 0, 0, 0}, {1e4, 1e4, 1e4}};
  for (const int64_t batch : {2, 3, 7, 10, 64})
    for (const double scale : {1e-3, 3.0, 1e4}) {
      rows.push_back(losses_of(batch, 5, scale).to_vector());
      Values ties = rows.back();  // rounded to quarters of the scale
      for (double& v : ties) v = std::round(4 * v / scale) * scale / 4;
      rows.push_back(ties);
    }
  Values outlier(32, 0.01);
  outlier[7] = 1e4;
  rows.push_back(outlier);
  return rows;
}

// Expects weights of both dtypes to be near what `expected` says of the losses as they are stored.
void expect_weights(const std::function<Tensor(const Tensor&)>& weights,
                    const std::function<Values(const Values&)>& expected, double f64 = 1e-9) {
  for (const Values& l : batches())
    for (DType dtype : kDTypes) {
      const Tensor losses = vector_of(l).to(dtype);
      SCOPED_TRACE(concat_text(name_of(dtype), " B ", l.size(), " first ", l[0]));
      const Tensor p = weights(losses);
      ASSERT_EQ(p.dtype(), dtype);
      const Values got = p.to_vector(), want = expected(losses.to_vector());
      const double tolerance = dtype == DType::kF64 ? f64 : std::max(f64, 1e-6);
      for (size_t i = 0; i < got.size(); i++) ASSERT_NEAR(got[i], want[i], tolerance) << i;
    }
}

// ---- CVaR ----

TEST(CvarRisk, GivesTheLargestLossesTheirShare) {
  for (const double level : {0.01, 0.1, 0.25, 0.3, 0.5, 0.77, 1.0})
    expect_weights([&](const Tensor& l) { return CvarRisk(level).weights(l, {}); },
                   [&](const Values& l) { return cvar_reference(l, level); });
  const Values p = CvarRisk(0.5).weights(vector_of({1, 4, 2, 3, 0}), {}).to_vector();
  const Values expected{0, 0.4, 0.2, 0.4, 0};
  for (size_t i = 0; i < 5; i++) EXPECT_NEAR(p[i], expected[i], 1e-15);
}

// ---- χ² ----

TEST(Chi2Risk, IsTheWorstOfTheBall) {
  for (const double rho : {1e-3, 0.1, 0.5, 1.0, 3.0, 100.0})
    expect_weights([&](const Tensor& l) { return Chi2Risk(rho).weights(l, {}); },
                   [&](const Values& l) { return chi2_reference(l, rho); }, 1e-7);
}

TEST(Chi2Risk, StaysInsideTheBallAndSumsToOne) {
  for (const double rho : {0.01, 0.5, 5.0})
    for (const Values& l : batches()) {
      const Values p = Chi2Risk(rho).weights(vector_of(l), {}).to_vector();
      double divergence = 0;
      const auto size = static_cast<double>(l.size());
      for (double v : p) divergence += 0.5 * std::pow(size * v - 1, 2) / size;
      EXPECT_LE(divergence, rho * (1 + 1e-6) + 1e-9);
      EXPECT_NEAR(total(p), 1, 1e-9);
    }
}

// ---- RGD ----

TEST(RgdRisk, IsTheClippedExponential) {
  for (const double tau : {0.0, 1.0, 5.0})
    expect_weights([&](const Tensor& l) { return RgdRisk(tau).weights(l, {}); },
                   [&](const Values& l) { return rgd_reference(l, tau); });
  for (double v : RgdRisk(0).weights(losses_of(8, 1, 9), {}).to_vector()) EXPECT_EQ(v, 0.125);
}

// ---- groups ----

TEST(GroupRisk, FollowsTheExponentiatedGradient) {
  GroupRisk risk({.groups = 4, .eta = 0.7});
  std::vector<long double> q(4, 0.25L);
  for (uint64_t step = 0; step < 6; step++) {
    const std::vector<int64_t> groups =
        step % 2 ? std::vector<int64_t>{0, 2, 2, 0, 2} : std::vector<int64_t>{3, 0, 0, 1, 3};
    const Tensor l = losses_of(5, step, 3);
    const Values p = risk.weights(l, {{}, labels_of(groups)}).to_vector();
    std::vector<long double> sum(4), count(4);
    for (size_t i = 0; i < 5; i++) {
      sum[static_cast<size_t>(groups[i])] += static_cast<long double>(l.to_vector()[i]);
      count[static_cast<size_t>(groups[i])] += 1;
    }
    long double mass = 0;
    for (size_t g = 0; g < 4; g++) {
      if (count[g] > 0) q[g] *= std::exp(0.7L * sum[g] / count[g]);
      mass += q[g];
    }
    for (long double& v : q) v /= mass;
    for (size_t i = 0; i < 5; i++) {
      const auto g = static_cast<size_t>(groups[i]);
      EXPECT_NEAR(p[i], static_cast<double>(q[g] / count[g]), 1e-12);
    }
    EXPECT_LE(total(p), 1 + 1e-12);
  }
  const Values weights = risk.group_weights();
  for (size_t g = 0; g < 4; g++) EXPECT_NEAR(weights[g], static_cast<double>(q[g]), 1e-12);
}

// The authors' code (loss.py) adds C/√n to the mean loss of every group, also of one that is absent.
TEST(GroupRisk, AddsTheSizeAdjustment) {
  const double eta = 0.3, c = 2;
  GroupRisk risk({.groups = 3, .eta = eta, .adjustment = c, .counts = {100, 4, 0}});
  const Tensor losses = from_vector({3}, {1, 2, 4}, {DType::kF32, {}}), groups = labels_of({0, 0, 2});
  std::vector<double> q{1, 1, 1};
  for (int step = 0; step < 2; step++) {
    const auto p = risk.weights(losses, {.groups = groups}).to_vector();
    q = {q[0] * std::exp(eta * (1.5 + c / 10)), q[1] * std::exp(eta * c / 2), q[2] * std::exp(eta * 4)};
    const double total = q[0] + q[1] + q[2];
    const auto got = risk.group_weights();
    for (size_t g = 0; g < 3; g++) EXPECT_NEAR(got[g], q[g] / total, 1e-12) << g;
    EXPECT_NEAR(p[0], q[0] / total / 2, 1e-6);
    EXPECT_NEAR(p[2], q[2] / total, 1e-6);
  }
  EXPECT_ERROR(GroupRisk({.groups = 2, .adjustment = -1}), "[risk] expected an adjustment >= 0");
  EXPECT_ERROR(GroupRisk({.groups = 2, .adjustment = 1, .counts = {1}}),
               "the counts of 2 groups for the adjustment, got 1");
}

TEST(GroupRisk, SurvivesHugeLosses) {
  for (DType dtype : kDTypes) {
    GroupRisk risk({.groups = 2, .eta = 1});
    for (int step = 0; step < 5; step++) {
      const Tensor l = from_vector({3}, Values{1e4, 0, 1}, {dtype, {}});
      const Values p = risk.weights(l, {{}, labels_of({0, 1, 1})}).to_vector();
      EXPECT_NEAR(p[0], 1, 1e-12);
      EXPECT_NEAR(p[1], 0, 1e-12);
    }
    EXPECT_TRUE(std::isfinite(risk.state().at("log_q").to_vector()[1]));
  }
}

// ---- a warm start ----

TEST(DeferredRisk, IsTheMeanUntilItIsActive) {
  const KlRiskOptions o{.lambda = 1, .gamma = 0.5};
  DeferredRisk risk(std::make_unique<KlRisk>(o));
  KlRisk straight(o);
  for (double v : risk.weights(losses_of(4, 1, 3), {}).to_vector()) EXPECT_EQ(v, 0.25);
  EXPECT_EQ(static_cast<KlRisk&>(risk.risk()).log_u(), -kInfinity) << "u has not begun";
  risk.set_active(true);
  for (const uint64_t step : {2, 3})
    EXPECT_TRUE(same_bits(risk.weights(losses_of(4, step, 3), {}), straight.weights(losses_of(4, step, 3), {})));
  EXPECT_EQ(risk.summary().steps, 3) << "those of the mean, too";
  EXPECT_STREQ(risk.name(), "kl");
  EXPECT_TRUE(same_bits(risk.state().at("kl"), straight.state().at("kl")));
}

TEST(DeferredRisk, NeedsOne) { EXPECT_ERROR(DeferredRisk(nullptr), "[risk] expected a risk to defer, got none"); }

// ---- what all have in common ----

using MakeRisk = std::function<std::unique_ptr<Risk>()>;

std::vector<MakeRisk> every_risk() {
  return {
      [] { return std::make_unique<MeanRisk>(); },
      [] { return std::make_unique<CvarRisk>(0.3); },
      [] { return std::make_unique<Chi2Risk>(0.5); },
      [] { return std::make_unique<RgdRisk>(1); },
      [] { return std::make_unique<GroupRisk>(GroupRiskOptions{.groups = 5, .eta = 0.1}); },
      [] {
        return std::make_unique<GroupRisk>(
            GroupRiskOptions{.groups = 5, .eta = 0.1, .adjustment = 1, .counts = {9, 400, 9, 1, 50}});
      },
      [] { return std::make_unique<KlRisk>(KlRiskOptions{.lambda = 2, .gamma = 1}); },
      [] { return std::make_unique<KlRisk>(KlRiskOptions{.lambda = -2, .gamma = 1}); },
      [] { return std::make_unique<KlRisk>(KlRiskOptions{.lambda = 2, .u_update = UUpdate::kScent, .log_step = 1}); },
      [] { return std::make_unique<KlBallRisk>(KlBallRiskOptions{.rho = 0.2, .window = 32, .every = 3}); },
      [] {
        return std::make_unique<KlBallRisk>(
            KlBallRiskOptions{.fraction = 0.6, .positive = false, .window = 32, .every = 3});
      }};
}

TEST(EveryRisk, GivesFiniteBoundedWeights) {
  for (const MakeRisk& make : every_risk())
    for (const Values& l : batches()) {
      if (l.size() > 32) continue;  // the window of the KL ball
      for (DType dtype : kDTypes) {
        const auto risk = make();
        SCOPED_TRACE(concat_text(risk->name(), " B ", l.size(), " first ", l[0]));
        std::vector<int64_t> groups;
        for (size_t i = 0; i < l.size(); i++) groups.push_back(static_cast<int64_t>(i) % 5);
        const Tensor p = risk->weights(vector_of(l).to(dtype), {{}, labels_of(groups)});
        for (double v : p.to_vector()) EXPECT_TRUE(std::isfinite(v) && v >= 0 && v <= 3) << v;
        EXPECT_LE(total(p.to_vector()), 3);
        EXPECT_GT(total(p.to_vector()), 0.01);
        EXPECT_EQ(risk->summary().steps, 1);
        EXPECT_NEAR(risk->summary().weight_sum, total(p.to_vector()), 1e-5);
      }
    }
}

TEST(EveryRisk, ALossThatIsNotFiniteChangesNoState) {
  for (const MakeRisk& make : every_risk()) {
    const auto risk = make();
    if (risk->name() == std::string("mean")) continue;
    SCOPED_TRACE(risk->name());
    const BatchContext context{{}, labels_of({0, 1, 2})};
    risk->weights(losses_of(3, 1, 2), context);
    std::map<std::string, Tensor> before;
    for (const auto& [key, t] : risk->state()) before[key] = t.clone();
    for (const double bad : {kNan, kInfinity, -kInfinity}) {
      for (double v : risk->weights(vector_of({1, bad, 2}), context).to_vector()) EXPECT_EQ(v, 0);
      for (const auto& [key, t] : risk->state()) EXPECT_TRUE(same_bits(t, before.at(key))) << key;
    }
  }
}

// Five linear classes of noisy points.
struct Classes {
  Tensor x = random_tensor({40, 5}, 50, -1, 1);
  Tensor w = zeros({5, 5}, {DType::kF64, {}}).set_requires_grad();
  std::vector<int64_t> labels;

  Classes() {
    for (int64_t i = 0; i < 40; i++) {
      labels.push_back(i % 5);
      x.data<double>()[5 * i + i % 5] += 1;
    }
  }
  double train(Optimizer& opt, int64_t from, int64_t to) {
    double last = 0;
    for (int64_t step = from; step < to; step++) {
      const int64_t at = step % 4 * 10;
      const std::vector<int64_t> y(labels.begin() + at, labels.begin() + at + 10);
      opt.zero_grad();
      const Tensor losses = cross_entropy(linear(x.slice(at, at + 10), w), labels_of(y));
      opt.weigh(losses, {{}, labels_of(y)}).backward();
      opt.step();
      last = mean(losses.detach()).item();
    }
    return last;
  }
};

std::unique_ptr<Optimizer> optimizer_of(bool adam, const Tensor& w, const MakeRisk& make) {
  std::unique_ptr<Optimizer> opt;
  if (adam) opt = std::make_unique<Adam>(std::vector<Tensor>{w}, AdamOptions{.lr = 0.05});
  else opt = std::make_unique<Sgd>(std::vector<Tensor>{w}, SgdOptions{.lr = 0.3, .momentum = 0.5});
  opt->set_risk(make());
  return opt;
}

TEST(EveryRisk, TrainsWithSgdAndAdamAndResumesBitForBit) {
  for (const MakeRisk& make : every_risk())
    for (const bool adam : {false, true}) {
      Classes whole, first, second;
      const auto straight = optimizer_of(adam, whole.w, make);
      SCOPED_TRACE(concat_text(straight->risk().name(), adam ? " Adam" : " SGD"));
      EXPECT_LT(whole.train(*straight, 0, 60), 0.85 * std::log(5.0));

      const auto before = optimizer_of(adam, first.w, make);
      first.train(*before, 0, 31);
      const auto after = optimizer_of(adam, second.w, make);
      second.train(*after, 0, 3);  // to be forgotten
      second.w.copy_from(first.w);
      for (auto& [key, t] : after->state()) Tensor(t).copy_from(before->state().at(key));
      for (auto& [key, views] : after->slots()) Tensor(views[0]).copy_from(before->slots().at(key)[0]);
      second.train(*after, 31, 60);
      EXPECT_TRUE(same_bits(whole.w, second.w));
      for (auto& [key, t] : after->state()) EXPECT_TRUE(same_bits(t, straight->state().at(key))) << key;
    }
}

// ---- errors ----

TEST(RiskErrors, OfTheFamilyNameTheProblem) {
  for (double bad : {0.0, -0.1, 1.1, kNan}) EXPECT_ERROR(CvarRisk{bad}, "[risk] expected a CVaR level in (0, 1], got ");
  for (double bad : {0.0, -1.0, kNan, kInfinity}) EXPECT_ERROR(Chi2Risk{bad}, "[risk] expected rho > 0 of chi2");
  for (double bad : {-1.0, kNan, kInfinity}) EXPECT_ERROR(RgdRisk{bad}, "[risk] expected tau >= 0 of rgd");
  EXPECT_ERROR(GroupRisk({.groups = 0}), "[risk] expected at least one group");
  EXPECT_ERROR(GroupRisk({.groups = 2, .eta = -1}), "[risk] expected eta >= 0");
  GroupRisk groups({.groups = 2});
  EXPECT_ERROR(groups.weights(zeros({2}), {}), "[risk] expected a group for each of the 2 losses");
  EXPECT_ERROR(groups.weights(zeros({2}), {{}, labels_of({0, 2})}), "[risk] expected groups in [0, 2), got 2");
  EXPECT_ERROR(KlBallRisk({}), "[risk] expected either rho or fraction");
  EXPECT_ERROR(KlBallRisk({.rho = 1, .fraction = 0.5}), "[risk] expected either rho or fraction");
  EXPECT_ERROR(KlBallRisk({.rho = -1}), "[risk] expected rho > 0");
  EXPECT_ERROR(KlBallRisk({.fraction = 1}), "[risk] expected fraction in (0, 1)");
  EXPECT_ERROR(KlBallRisk({.rho = 1, .window = 0}), "[risk] expected window and every");
  KlBallRisk ball({.rho = 1, .window = 3});
  EXPECT_ERROR(ball.weights(zeros({4}), {}), "[risk] expected a window of at least a batch, 4 losses, got 3");
  EXPECT_ERROR(KlRisk({.lambda = -1, .u_update = UUpdate::kScent}),
               "[risk] expected lambda > 0 with the update of SCENT");
  EXPECT_ERROR(KlRisk({.lambda = 1, .u_init = UInit::kZero, .u_update = UUpdate::kScent}),
               "[risk] expected u to start by the first batch");
}

}  // namespace
}  // namespace fulcrum::testing
