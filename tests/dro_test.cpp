// Theory: ABSGD minimises λ·log mean exp(l/λ), the dual of min over w of max (λ > 0) or min (λ < 0)
// over p of Σ p l − λ·KL(p ‖ 1/n). On problems small enough to be solved otherwise, mini-batches of
// ABSGD must arrive where a full-batch solver does.
#include <array>
#include <limits>
#include <numeric>

#include <fulcrum/optim/absgd.h>

#include "testing.h"

namespace fulcrum::testing {
namespace {

constexpr int64_t kSamples = 24, kFeatures = 3;
constexpr double kInfinity = std::numeric_limits<double>::infinity();
using Point = std::array<double, kFeatures>;

struct Problem {
  bool logistic;
  double lambda;
  std::vector<double> x = random_tensor({kSamples, kFeatures}, 40).to_vector();
  std::vector<double> t = targets();

  // Linear in x with noise, and every sixth sample against the trend: those are what λ moves.
  std::vector<double> targets() const {
    const auto noise = random_tensor({kSamples}, 41, -0.3, 0.3).to_vector();
    std::vector<double> values;
    for (size_t i = 0; i < kSamples; i++) {
      const double z = 1.2 * x[3 * i] - 0.8 * x[3 * i + 1] + 0.5 * x[3 * i + 2] + noise[i];
      const double sign = i % 6 == 0 ? -1 : 1;
      values.push_back(logistic ? (sign * z > 0 ? 1.0 : 0.0) : sign * z);
    }
    return values;
  }

  // Loss of a sample and the factor of x in its gradient.
  std::pair<double, double> loss(const Point& w, size_t i) const {
    double z = 0;
    for (size_t k = 0; k < kFeatures; k++) z += w[k] * x[3 * i + k];
    if (!logistic) return {(z - t[i]) * (z - t[i]), 2 * (z - t[i])};
    return {std::max(z, 0.0) + std::log1p(std::exp(-std::abs(z))) - t[i] * z, 1 / (1 + std::exp(-z)) - t[i]};
  }

  // Gradient descent on λ·log mean exp(l/λ) with all samples; λ = ∞ is the mean.
  Point solve() const {
    Point w{};
    for (int iteration = 0; iteration < 200000; iteration++) {
      Point gradient{};
      double total = 0, norm = 0;
      for (size_t i = 0; i < kSamples; i++) {
        const auto [l, slope] = loss(w, i);
        const double p = std::exp(l / lambda);
        total += p;
        for (size_t k = 0; k < kFeatures; k++) gradient[k] += p * slope * x[3 * i + k];
      }
      for (size_t k = 0; k < kFeatures; k++) {
        w[k] -= 0.2 * gradient[k] / total;
        norm += std::pow(gradient[k] / total, 2);
      }
      if (norm < 1e-28) return w;
    }
    ADD_FAILURE() << "the solver has not converged";
    return w;
  }

  // Per-sample losses of some samples, through the engine.
  Tensor losses(const Tensor& w, const std::vector<size_t>& samples) const {
    std::vector<double> rows, wanted;
    for (size_t i : samples) {
      rows.insert(rows.end(), x.begin() + static_cast<int64_t>(3 * i), x.begin() + static_cast<int64_t>(3 * i + 3));
      wanted.push_back(t[i]);
    }
    const auto batch = static_cast<int64_t>(samples.size());
    const Tensor z = linear(from_vector({batch, kFeatures}, rows, {DType::kF64, {}}), w);
    const Tensor target = from_vector({batch, 1}, wanted, {DType::kF64, {}});
    return logistic ? binary_cross_entropy_with_logits(z, target) : mse_loss(z, target);
  }
};

void PrintTo(const Problem& p, std::ostream* out) {
  *out << (p.logistic ? "logistic" : "squares") << " lambda " << p.lambda;
}

double distance(const Point& a, const Point& b) {
  double sum = 0;
  for (size_t k = 0; k < kFeatures; k++) sum += (a[k] - b[k]) * (a[k] - b[k]);
  return std::sqrt(sum);
}

Point point_of(const Tensor& w) {
  const auto v = w.to_vector();
  return {v[0], v[1], v[2]};
}

std::vector<size_t> everyone() {
  std::vector<size_t> all(kSamples);
  std::iota(all.begin(), all.end(), size_t{0});
  return all;
}

class ConvexDro : public ::testing::TestWithParam<Problem> {
 protected:
  const Problem& problem = GetParam();
  Tensor w = zeros({1, kFeatures}, {DType::kF64, {}}).set_requires_grad();

  void step(Optimizer& opt, const std::vector<size_t>& samples) {
    opt.zero_grad();
    opt.weigh(problem.losses(w, samples)).backward();
    opt.step();
  }
};

TEST_P(ConvexDro, TheGradientIsThatOfTheTiltedLoss) {
  w.copy_from(full({1, kFeatures}, 0.3));
  const double lambda = problem.lambda;
  mul(log(mean(exp(problem.losses(w, everyone()) / lambda))), lambda).backward();
  const Tensor expected = w.grad().clone();
  Absgd opt({w}, {.lr = 0.1, .lambda = lambda, .gamma = 1});
  opt.zero_grad();
  opt.weigh(problem.losses(w, everyone())).backward();
  EXPECT_TRUE(all_close(w.grad(), expected, {1e-12}));
}

TEST_P(ConvexDro, FullBatchesReachTheOptimum) {
  Absgd opt({w}, {.lr = 0.1, .momentum = 0.5, .lambda = problem.lambda, .gamma = 0.9});
  for (int i = 0; i < 1500; i++) step(opt, everyone());
  EXPECT_LT(distance(point_of(w), problem.solve()), 1e-9);
}

TEST_P(ConvexDro, MiniBatchesReachTheOptimum) {
  const Point optimum = problem.solve();
  const Point plain = Problem{problem.logistic, kInfinity}.solve();
  const double moved = distance(optimum, plain);
  ASSERT_GT(moved, 0.1) << "λ must make a difference here";
  // γ and the learning rate fall together: u must average over many batches in the end, since the
  // mean of a quotient is not the quotient of the means; but not at first, when Σp may reach 1/γ.
  Tensor u;
  const Philox philox(kSeed, streams::kShuffle);
  uint64_t draw = 0;
  for (const double rate : {0.1, 0.03, 0.01, 0.003, 0.001}) {
    Absgd opt({w}, {.lr = rate, .momentum = 0, .lambda = problem.lambda, .gamma = 5 * rate});
    if (u) opt.state().at("risk.kl").copy_from(u);
    std::vector<size_t> order = everyone();
    for (int epoch = 0; epoch < 600; epoch++) {
      for (uint32_t i = kSamples; i > 1; i--) std::swap(order[i - 1], order[philox.below(draw++, i)]);
      for (auto at = order.begin(); at != order.end(); at += 6) step(opt, {at, at + 6});
    }
    u = opt.state().at("risk.kl").clone();
  }
  EXPECT_LT(distance(point_of(w), optimum), 0.01 * moved) << moved;
}

INSTANTIATE_TEST_SUITE_P(Problems, ConvexDro,
                         ::testing::Values(Problem{false, 2}, Problem{false, -4}, Problem{true, 0.5}),
                         [](const auto& row) {
                           return std::string(row.param.logistic ? "Logistic" : "Squares") +
                                  (row.param.lambda > 0 ? "MinMax" : "MinMin");
                         });

}  // namespace
}  // namespace fulcrum::testing
