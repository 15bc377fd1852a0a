// Risks that are made of operations.
#include <cmath>

#include <fulcrum/core/ops.h>
#include <fulcrum/optim/optimizer.h>

#include "trimmed_risk.h"

namespace fulcrum::testing {
namespace {

TEST(OwnRisk, WeighsAndIsSummedUp) {
  const Tensor w = full({1}, 2, {DType::kF32, {}}).set_requires_grad();
  Sgd opt({w}, {.lr = 1});
  opt.set_risk(std::make_unique<TrimmedRisk>(0.5));
  const Tensor x = from_vector({4}, std::vector<double>{4, 1, 3, 2});
  opt.weigh(mul(w, x)).backward();
  EXPECT_EQ(opt.weights().to_vector(), (std::vector<double>{0, 0.5, 0, 0.5}));
  EXPECT_EQ(w.grad().to_vector(), std::vector<double>{1.5});
  opt.weigh(mul(w, x.slice(0, 1)));
  const RiskSummary both = opt.risk().summary();
  EXPECT_EQ(both.steps, 2);
  EXPECT_DOUBLE_EQ(both.weight_sum, 1);
  EXPECT_DOUBLE_EQ(both.effective_fraction, (0.5 + 1) / 2);
}

TEST(OwnRisk, WeightsWithAHistoryAreNumbers) {
  struct Learned : Risk {
    explicit Learned(Tensor scale) : Risk(Device()), scale_(std::move(scale)) {}
    const char* name() const override { return "learned"; }
    Tensor weights(const Tensor& losses, const BatchContext&) override {
      return mul(full(losses.shape(), 1, options_of(losses)), scale_);
    }
    Tensor scale_;
  };
  const Tensor w = ones({2}).set_requires_grad(), scale = full({}, 3).set_requires_grad();
  Sgd opt({w}, {.lr = 1});
  opt.set_risk(std::make_unique<Learned>(scale));
  opt.weigh(square(w)).backward();
  EXPECT_EQ(w.grad().to_vector(), (std::vector<double>{6, 6}));
  EXPECT_FALSE(scale.grad());
}

// What a kernel counts of the same weights.
class CountedAgain : public KlRisk {
 public:
  using KlRisk::KlRisk;
  Tensor weights(const Tensor& losses, const BatchContext& context) override {
    const Tensor p = KlRisk::weights(losses, context);
    again_.add_to_summary(p);
    return p;
  }
  const Risk& again() const { return again_; }

 private:
  struct Counter : Risk {
    Counter() : Risk(Device()) {}
    const char* name() const override { return "counter"; }
    Tensor weights(const Tensor& losses, const BatchContext&) override { return losses; }
    using Risk::add_to_summary;
  };
  Counter again_;
};

TEST(OwnRisk, CountsAsTheKernelsDoAndLeavesOutWhatIsNotFinite) {
  CountedAgain risk({.lambda = 0.5});
  for (uint64_t seed = 0; seed < 5; seed++) risk.weights(random_tensor({17}, seed, 0, 3, DType::kF32), {});
  const RiskSummary kernel = risk.summary(), again = risk.again().summary();
  EXPECT_EQ(again.steps, 5);
  EXPECT_NEAR(again.weight_sum, kernel.weight_sum, 1e-6);
  EXPECT_NEAR(again.effective_fraction, kernel.effective_fraction, 1e-6);

  struct Infinite : TrimmedRisk {
    using Risk::add_to_summary;
    using TrimmedRisk::TrimmedRisk;
  } infinite(0.25);
  infinite.add_to_summary(full({3}, std::numeric_limits<double>::infinity()));
  infinite.add_to_summary(zeros({3}));
  EXPECT_EQ(infinite.summary().steps, 1);
  EXPECT_EQ(infinite.summary().effective_fraction, 0);
}

}  // namespace
}  // namespace fulcrum::testing
