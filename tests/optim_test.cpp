// The rules of optimisers: groups, clipping, bf16 twins, non-finite steps, errors.
#include <fulcrum/optim/risks.h>

#include "optim_testing.h"

namespace fulcrum::testing {
namespace {

// ---- groups, clipping, twins ----

Tensor one_parameter(std::vector<double> values, DType dtype = DType::kF64) {
  const Shape shape{static_cast<int64_t>(values.size())};
  return from_vector(shape, values, {dtype, {}}).set_requires_grad();
}

// A step with gradient g on every element.
void step_with(Optimizer& opt, const std::vector<double>& gradients) {
  opt.zero_grad();
  for (size_t i = 0; i < gradients.size(); i++) sum(opt.parameters()[i] * gradients[i]).backward();
  opt.step();
}

TEST(Optimizer, GroupsHaveTheirOwnRateAndDecay) {
  const Tensor a = one_parameter({1, 2}), b = one_parameter({1, 2}), c = one_parameter({3});
  Sgd opt({{.parameters = {a}, .lr_scale = 1, .weight_decay = {}},
           {.parameters = {b, c}, .lr_scale = 0.5, .weight_decay = 0.0}},
          {.lr = 0.1, .weight_decay = 0.5});
  step_with(opt, {1, 1, 2});
  EXPECT_TRUE(all_close(a, from_vector({2}, std::vector<double>{1 - 0.1 * 1.5, 2 - 0.1 * 2}), {0, 1e-7}));
  EXPECT_TRUE(all_close(b, from_vector({2}, std::vector<double>{0.95, 1.95}), {0, 1e-7}));
  EXPECT_NEAR(c.item(), 2.9, 1e-12);
  opt.set_lr(0.2);
  EXPECT_EQ(opt.lr(), 0.2);
  step_with(opt, {0, 1, 0});
  EXPECT_NEAR(b.to_vector()[0], 0.85, 1e-12);
  EXPECT_NEAR(c.item(), 2.9, 1e-12);
}

TEST(Optimizer, ClipsByTheNormOfAllGradients) {
  const Tensor a = one_parameter({0}), b = one_parameter({0});
  Sgd opt(Tensors{a, b}, {.lr = 1, .max_norm = 1});
  step_with(opt, {30, 40});
  EXPECT_NEAR(opt.gradient_norm(), 50, 1e-9);
  EXPECT_NEAR(a.item(), -0.6, 1e-6);
  EXPECT_NEAR(b.item(), -0.8, 1e-6);
  step_with(opt, {0.3, 0.4});  // shorter than the limit: untouched
  EXPECT_NEAR(a.item(), -0.9, 1e-6);
}

template <class Opt, class Options>
void keep_the_twin_in_step(const Options& options) {
  Tensor w = random_tensor({300}, 1, -1, 1, DType::kF32).set_requires_grad();
  Arena::lay_out({w}, {DType::kF32, {}}, DType::kBf16);
  Opt opt(Tensors{w}, options);
  for (int i = 0; i < 3; i++) {
    step_with(opt, {1.5});
    ASSERT_TRUE(same_bits(w.as(DType::kBf16), w.detach().to(DType::kBf16)));
  }
}

TEST(Optimizer, KeepsTheBf16TwinsInStep) {
  keep_the_twin_in_step<Sgd>(SgdOptions{.lr = 0.1});
  keep_the_twin_in_step<Sgd>(SgdOptions{.lr = 0.1, .momentum = 0.9});
  keep_the_twin_in_step<Adam>(AdamOptions{.lr = 0.1});
}

TEST(Optimizer, ASteadyStepAsksTheSystemForNothing) {
  const Mlp net(DType::kF32);
  Absgd opt(net.parameters, {.lr = 0.1, .lambda = 1});
  net.train(opt, 0, 3);
  const MemoryStats before = memory_stats(Device());
  net.train(opt, 3, 10);
  EXPECT_EQ(memory_stats(Device()).system_requests, before.system_requests);
  EXPECT_EQ(memory_stats(Device()).allocated, before.allocated);
}

// ---- non-finite numbers ----

TEST(Optimizer, ANonFiniteGradientLeavesEverythingAsItWas) {
  for (double bad : {kNan, kInfinity, -kInfinity}) {
    for (int rule = 0; rule < 2; rule++) {
      const Mlp net(DType::kF32);
      std::unique_ptr<Optimizer> opt;
      if (rule == 0) opt = std::make_unique<Sgd>(net.parameters, SgdOptions{.lr = 0.1, .momentum = 0.9});
      if (rule == 1) opt = std::make_unique<Adam>(net.parameters, AdamOptions{.lr = 0.1});
      net.train(*opt, 0, 3);
      EXPECT_TRUE(opt->finite());
      const Tensors kept = net.snapshot();
      opt->zero_grad();
      opt->weigh(net.losses(3)).backward();
      net.parameters[1].grad().data<float>()[7] = static_cast<float>(bad);
      opt->step();
      EXPECT_FALSE(opt->finite());
      EXPECT_EQ(opt->steps(), 3);
      EXPECT_TRUE(same_parameters(net.parameters, kept));
      net.train(*opt, 4, 6);  // sticky: good batches do not hide it
      EXPECT_FALSE(opt->finite());
      EXPECT_TRUE(same_parameters(net.parameters, kept));
    }
  }
}

TEST(Optimizer, ANonFiniteLossLeavesEverythingAsItWas) {
  for (double bad : {kNan, kInfinity, -kInfinity}) {
    const Mlp net(DType::kF32);
    Absgd opt(net.parameters, {.lr = 0.1, .lambda = 2});
    net.train(opt, 0, 3);
    const Tensors kept = net.snapshot();
    // The gradient of the loss is finite, the loss is not.
    const Tensor shift = from_vector({10}, std::vector<double>{0, 0, 0, bad, 0, 0, 0, 0, 0, 0});
    opt.zero_grad();
    opt.weigh(net.losses(3) + shift).backward();
    opt.step();
    EXPECT_FALSE(opt.finite());
    EXPECT_TRUE(same_parameters(net.parameters, kept));
  }
}

TEST(Optimizer, GoesOnWhenTheFlagIsCleared) {
  const Tensor w = one_parameter({1});
  Sgd opt({w}, {.lr = 0.1});
  step_with(opt, {kNan});
  step_with(opt, {1});
  EXPECT_EQ(w.item(), 1);
  opt.clear_non_finite();
  EXPECT_TRUE(opt.finite());
  step_with(opt, {1});
  EXPECT_EQ(w.item(), 0.9);
  EXPECT_EQ(opt.steps(), 1);
}

// Where ε is as large as the root of the second moment: without the corrections, with each of them, and with one too
// many.
TEST(Optimizer, AdamCorrectsItsMomentsAndNotEpsilon) {
  const double beta1 = 0.6, beta2 = 0.7, eps = 2, lr = 0.5;
  const Tensor w = one_parameter({1});
  Adam opt({w}, {.lr = lr, .beta1 = beta1, .beta2 = beta2, .eps = eps});
  double m = 0, v = 0, expected = 1;
  for (int t = 1; t <= 4; t++) {
    const double g = 3 - t;
    step_with(opt, {g});
    m = beta1 * m + (1 - beta1) * g;
    v = beta2 * v + (1 - beta2) * g * g;
    expected -= lr * m / (1 - std::pow(beta1, t)) / (std::sqrt(v / (1 - std::pow(beta2, t))) + eps);
    EXPECT_NEAR(w.item(), expected, 1e-14) << t;
  }
}

// Decay is part of what momentum remembers, and is not clipped.
TEST(Optimizer, DecayIsAddedToTheClippedGradient) {
  const Tensor w = one_parameter({2});
  Sgd opt({w}, {.lr = 0.1, .momentum = 0.5, .weight_decay = 0.25, .max_norm = 1});
  double m = 0, expected = 2;
  for (int t = 0; t < 3; t++) {
    step_with(opt, {8});
    m = 0.5 * m + 1 + 0.25 * expected;
    expected -= 0.1 * m;
    EXPECT_NEAR(w.item(), expected, 1e-6);
  }
}

// ---- errors ----

TEST(OptimizerErrors, NameTheProblem) {
  const Tensors p{one_parameter({1})};
  EXPECT_ERROR(Sgd(Tensors{}, {.lr = 0.1}), "[optimizer] expected at least one parameter");
  EXPECT_ERROR(Sgd(Tensors{zeros({1})}, {.lr = 0.1}), "[optimizer] expected leaves that require a gradient");
  EXPECT_ERROR(Sgd(p, {.lr = -1}), "[optimizer] expected lr >= 0, got -1");
  EXPECT_ERROR(Sgd(p, {.momentum = 0.9}), "[optimizer] expected a learning rate: options.lr has no default");
  EXPECT_ERROR(Sgd(p, {.lr = 1, .momentum = 1}), "momentum in [0, 1)");
  EXPECT_ERROR(Sgd(p, {.lr = 1, .nesterov = true}), "momentum > 0 with nesterov");
  EXPECT_ERROR(Sgd(p, {.lr = 1, .weight_decay = -1}), "weight_decay >= 0");
  EXPECT_ERROR(Sgd(p, {.lr = 1, .max_norm = kNan}), "max_norm >= 0");
  EXPECT_ERROR(Adam(p, {.lr = 1, .beta2 = 1}), "betas in [0, 1)");
  EXPECT_ERROR(Adam(p, {.lr = 1, .eps = -1}), "eps >= 0");
  EXPECT_ERROR(Sgd(Tensors{p[0], p[0]}, {.lr = 1}), "[optimizer] expected every parameter once, got one [1] twice");
  EXPECT_ERROR(Sgd(std::vector<ParamGroup>{{p, -1, {}}}, {.lr = 1}), "lr_scale of a group >= 0, got -1");
  EXPECT_ERROR(Sgd(std::vector<ParamGroup>{{p, 1, kNan}}, {.lr = 1}), "weight_decay of a group >= 0");
  Sgd opt(p, {.lr = 1});
  EXPECT_ERROR(opt.set_lr(kInfinity), "[optimizer] expected lr");
  EXPECT_ERROR(opt.weigh(zeros({2, 2}, {DType::kF64, {}})), "[weigh] expected losses f64 [B]");
  EXPECT_ERROR(opt.weigh(zeros({2})), "[weigh] expected losses f64 [B], one per sample, got f32 [2]");
  const Tensor losses = zeros({2}, {DType::kF64, {}});
  EXPECT_ERROR(opt.weigh(losses, {.indices = zeros({2}, {DType::kI32, {}})}),
               "[weigh] indices: expected i64 [2], one for each loss, got i32 [2]");
  EXPECT_ERROR(opt.weigh(losses, {.groups = zeros({3}, {DType::kI64, {}})}),
               "[weigh] groups: expected i64 [2], one for each loss, got i64 [3]");
  GroupRisk risk({.groups = 2});
  EXPECT_ERROR(risk.weights(losses, {.groups = zeros({2}, {DType::kI32, {}})}), "[risk] groups: expected i64 [2]");
  EXPECT_ERROR(risk.weights(zeros({2}, {DType::kI64, {}}), {.groups = zeros({2}, {DType::kI64, {}})}),
               "[risk] expected losses f32 or f64 [B], one per sample, got i64 [2]");
}

}  // namespace
}  // namespace fulcrum::testing
