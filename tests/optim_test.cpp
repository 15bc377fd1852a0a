// Optimisers against PyTorch's traces, and their rules: groups, clipping, non-finite steps,
// resuming.
#include "golden.h"

#include <limits>

#include <fulcrum/layers/resnet.h>
#include <fulcrum/optim/absgd.h>

namespace fulcrum::testing {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr int kSteps = 10;

// The network of the traces: Linear(12, 16), ReLU, Linear(16, 5).
struct Mlp {
  Tensors parameters;

  explicit Mlp(DType dtype = DType::kF64) {
    const Shape shapes[] = {{16, 12}, {16}, {5, 16}, {5}};
    for (uint64_t i = 0; i < 4; i++)
      parameters.push_back(symmetric(shapes[i], 0.5, 4000 + i, 0, dtype).set_requires_grad());
  }
  Tensor losses(int step) const {
    const Tensor x =
        symmetric({10, 12}, 1, static_cast<uint64_t>(5000 + step), 0, parameters[0].dtype());
    std::vector<int64_t> labels;
    for (int64_t i = 0; i < 10; i++) labels.push_back((3 * i + step) % 5);
    const Tensor hidden = relu(linear(x, parameters[0], parameters[1]));
    return cross_entropy(linear(hidden, parameters[2], parameters[3]), labels_of(labels));
  }
  void train(Optimizer& opt, int from = 0, int to = kSteps) const {
    for (int step = from; step < to; step++) {
      opt.zero_grad();
      opt.weigh(losses(step)).backward();
      opt.step();
    }
  }
  Tensors snapshot() const {
    Tensors copies;
    for (const Tensor& p : parameters) copies.push_back(p.clone());
    return copies;
  }
};

::testing::AssertionResult same_parameters(const Tensors& a, const Tensors& b) {
  for (size_t i = 0; i < a.size(); i++)
    if (!same_bits(a[i], b[i]))
      return ::testing::AssertionFailure() << "parameter " << i << " differs";
  return ::testing::AssertionSuccess();
}

// ---- PyTorch's traces ----

std::unique_ptr<Optimizer> optimizer_of(const Tensors& parameters, const Json& t) {
  const Json none;
  const Json& risk = t.has("risk") ? t["risk"] : none;
  const bool waits = risk.has("from_step");
  const double lambda = waits ? kInfinity : risk.get("lam", kInfinity);
  const UInit start = risk.has("u_init") && risk["u_init"].text == "first_batch"
                          ? UInit::kFirstBatch
                          : UInit::kZero;
  if (t["optimizer"].text == "sgd")
    return std::make_unique<Absgd>(parameters,
                                   AbsgdOptions{.lr = t["lr"].number,
                                                .momentum = t.get("momentum", 0),
                                                .weight_decay = t.get("weight_decay", 0),
                                                .nesterov = t.get("nesterov", 0) != 0,
                                                .max_norm = t.get("clip", 0),
                                                .lambda = lambda,
                                                .gamma = risk.get("gamma", 0.9),
                                                .alpha = risk.get("alpha", 1),
                                                .additive = risk.get("additive", 0),
                                                .u_init = start});
  return std::make_unique<AbAdam>(parameters,
                                  AbAdamOptions{.lr = t["lr"].number,
                                                .weight_decay = t.get("weight_decay", 0),
                                                .decoupled = t["optimizer"].text == "adamw",
                                                .lambda = lambda,
                                                .gamma = risk.get("gamma", 0.9),
                                                .alpha = risk.get("alpha", 1),
                                                .additive = risk.get("additive", 0),
                                                .u_init = start});
}

// Trains as golden/traces.py does and compares what it wrote, each number relative to the largest.
class Trace {
 public:
  Trace(const Golden& golden, std::string name, double tolerance)
      : golden_(golden), name_(std::move(name)), tolerance_(tolerance) {}

  template <class Losses>
  void run(Optimizer& opt, const Losses& losses_at) {
    const Json& t = golden_.about["traces"][name_];
    const bool weighted = t.has("risk");
    auto& kl = static_cast<KlRisk&>(opt.risk());
    for (int step = 0; step < kSteps; step++) {
      SCOPED_TRACE(concat_text(name_, " step ", step));
      if (weighted && step == static_cast<int>(t["risk"].get("from_step", 0)))
        kl.set_lambda(t["risk"]["lam"].number);
      opt.zero_grad();
      const Tensor losses = losses_at(step), objective = opt.weigh(losses);
      objective.backward();
      opt.step();
      near("losses", step, mean(losses.detach()).item());
      if (golden_.file.tensors.count(name_ + ".sample_losses")) near("sample_losses", step, losses);
      if (t.has("clip")) near("norm", step, opt.gradient_norm());
      if (!weighted) continue;
      near("p", step, opt.weights());
      near("objective", step, objective.item());
      near("log_u", step, kl.log_u());
    }
  }

 private:
  void near(const char* what, int step, const Tensor& got) {
    const Tensor row = golden_[name_ + "." + what].slice(step, step + 1).reshape(got.shape());
    EXPECT_TRUE(all_close(got, row, {tolerance_, tolerance_})) << what;
  }
  void near(const char* what, int step, double got) {
    const double expected = golden_[name_ + "." + what].to_vector()[static_cast<size_t>(step)];
    if (std::isnan(expected)) {
      EXPECT_EQ(got, -kInfinity) << what << " has not begun";
    } else {
      EXPECT_NEAR(got, expected, tolerance_ * std::max(1.0, std::abs(expected))) << what;
    }
  }

  const Golden& golden_;
  std::string name_;
  double tolerance_;
};

TEST(GoldenTraces, TenStepsOfEveryOptimizer) {
  const Golden golden("optim");
  int seen = 0;
  for (const auto& [name, settings] : golden.about["traces"].members) {
    if (name.starts_with("resnet8")) continue;
    seen++;
    for (DType dtype : {DType::kF64, DType::kF32}) {
      SCOPED_TRACE(name + " " + name_of(dtype));
      const double tolerance = dtype == DType::kF64 ? 1e-12 : 2e-5;
      const Mlp net(dtype);
      const auto opt = optimizer_of(net.parameters, settings);
      Trace(golden, name, tolerance).run(*opt, [&](int step) { return net.losses(step); });
      const char* paths[] = {"0.weight", "0.bias", "2.weight", "2.bias"};
      for (size_t i = 0; i < 4; i++)
        EXPECT_TRUE(all_close(net.parameters[i], golden[name + ".final." + paths[i]], {tolerance}))
            << paths[i];
    }
  }
  EXPECT_GE(seen, 16);
}

TEST(GoldenTraces, TenStepsOfAbsgdOnResnet8) {
  const Golden golden("optim");
  for (const char* name : {"resnet8_pos2", "resnet8_neg2"}) {
    for (DType dtype : {DType::kF64, DType::kF32}) {
      Resnet net = resnet8({.channels = 1});
      fill_as_golden(net);
      net.to(Device(), dtype);
      const auto opt = optimizer_of(net.parameters(), golden.about["traces"][name]);
      // Ten steps of training amplify a rounding a hundredfold and more.
      const double tolerance = dtype == DType::kF64 ? 1e-8 : 2e-2;
      Trace(golden, name, tolerance).run(*opt, [&](int step) {
        const Tensor x = symmetric({8, 1, 28, 28}, 2, static_cast<uint64_t>(6000 + step), 0, dtype);
        std::vector<int64_t> labels;
        for (int64_t i = 0; i < 8; i++) labels.push_back((3 * i + step) % 10);
        return cross_entropy(net(x.reshape({8, 28, 28, 1})), labels_of(labels));
      });
      const Tensor fc = net.named_parameters()[net.named_parameters().size() - 2].tensor;
      EXPECT_TRUE(same_summary(fc, golden[std::string(name) + ".final.fc.weight"], tolerance))
          << name;
    }
  }
}

// ---- λ = ∞ ----

TEST(Absgd, WithInfiniteLambdaIsSgdBitForBit) {
  for (const double lambda : {kInfinity, -kInfinity}) {
    for (DType dtype : {DType::kF32, DType::kF64}) {
      const Mlp a(dtype), b(dtype);
      Sgd sgd(a.parameters, {.lr = 0.1, .momentum = 0.9, .weight_decay = 2e-4});
      // alpha and additive play no part either.
      Absgd absgd(b.parameters, {.lr = 0.1,
                                 .momentum = 0.9,
                                 .weight_decay = 2e-4,
                                 .lambda = lambda,
                                 .gamma = 0.3,
                                 .alpha = 0.1,
                                 .additive = 1});
      for (int step = 0; step < 20; step++) {
        a.train(sgd, step, step + 1);
        b.train(absgd, step, step + 1);
        ASSERT_TRUE(same_parameters(a.parameters, b.parameters)) << step;
        ASSERT_TRUE(same_bits(sgd.weights(), absgd.weights()));
      }
      EXPECT_EQ(absgd.kl().log_u(), -kInfinity) << "u has not begun";
    }
  }
}

TEST(AbAdam, WithInfiniteLambdaIsAdamWBitForBit) {
  const Mlp a(DType::kF32), b(DType::kF32);
  Adam adam(a.parameters, {.lr = 1e-2, .weight_decay = 1e-2, .decoupled = true});
  AbAdam abadam(b.parameters, {.lr = 1e-2, .weight_decay = 1e-2, .decoupled = true});
  a.train(adam, 0, 20);
  b.train(abadam, 0, 20);
  EXPECT_TRUE(same_parameters(a.parameters, b.parameters));
}

TEST(Absgd, AFiniteLambdaIsSomethingElse) {
  const Mlp a(DType::kF32), b(DType::kF32);
  Sgd sgd(a.parameters, {.lr = 0.1});
  Absgd absgd(b.parameters, {.lr = 0.1, .momentum = 0, .lambda = 1});
  a.train(sgd);
  b.train(absgd);
  EXPECT_FALSE(same_parameters(a.parameters, b.parameters));
}

// Every option by itself, so that none is lost or changes places with another.
template <class Biased, class Rule, class RuleOptions, class Options>
void expect_a_rule_with_kl_risk(const RuleOptions& rule_options, Options options) {
  const KlRiskOptions risk{.lambda = 0.7, .gamma = 0.4, .alpha = 0.6, .additive = 1, .u_init = UInit::kZero, .keep_u = true};
  options.lambda = risk.lambda, options.gamma = risk.gamma, options.alpha = risk.alpha;
  options.additive = risk.additive, options.u_init = risk.u_init, options.keep_u = risk.keep_u;
  const Mlp a, b;
  Biased biased(a.parameters, options);
  Rule rule(b.parameters, rule_options);
  rule.set_risk(std::make_unique<KlRisk>(risk));
  a.train(biased, 0, 3);
  b.train(rule, 0, 3);
  biased.set_lambda(3);
  static_cast<KlRisk&>(rule.risk()).set_lambda(3);
  EXPECT_EQ(biased.lambda(), 3);
  a.train(biased, 3, 6);
  b.train(rule, 3, 6);
  EXPECT_TRUE(same_parameters(a.parameters, b.parameters));
}

TEST(Absgd, IsSgdWithKlRisk) {
  expect_a_rule_with_kl_risk<Absgd, Sgd>(
      SgdOptions{.lr = 0.1, .momentum = 0.8, .weight_decay = 0.01, .nesterov = true, .max_norm = 0.1},
      AbsgdOptions{.lr = 0.1, .momentum = 0.8, .weight_decay = 0.01, .nesterov = true, .max_norm = 0.1});
}

TEST(AbAdam, IsAdamWithKlRisk) {
  expect_a_rule_with_kl_risk<AbAdam, Adam>(
      AdamOptions{.lr = 0.01, .beta1 = 0.7, .beta2 = 0.9, .eps = 0.1, .weight_decay = 0.1, .decoupled = true, .max_norm = 0.1},
      AbAdamOptions{.lr = 0.01, .beta1 = 0.7, .beta2 = 0.9, .eps = 0.1, .weight_decay = 0.1, .decoupled = true, .max_norm = 0.1});
}

// ---- resuming ----

template <class Opt, class Options>
void resume_bit_exactly(const Options& options, DType dtype) {
  const Mlp whole(dtype), first(dtype), second(dtype);
  Opt straight(whole.parameters, options);
  whole.train(straight, 0, 10);

  Opt before(first.parameters, options);
  first.train(before, 0, 5);
  Opt after(second.parameters, options);
  for (size_t i = 0; i < 4; i++) Tensor(second.parameters[i]).copy_from(first.parameters[i]);
  for (auto& [key, tensor] : after.state()) Tensor(tensor).copy_from(before.state().at(key));
  for (auto& [key, tensors] : after.slots())
    for (size_t i = 0; i < tensors.size(); i++)
      Tensor(tensors[i]).copy_from(before.slots().at(key)[i]);
  second.train(after, 5, 10);
  EXPECT_TRUE(same_parameters(whole.parameters, second.parameters));
  EXPECT_EQ(after.steps(), 10);
  for (auto& [key, tensor] : after.state())
    EXPECT_TRUE(same_bits(tensor, straight.state().at(key))) << key;
}

TEST(Resume, FiveStepsAndFiveAreTen) {
  for (DType dtype : {DType::kF32, DType::kF64}) {
    resume_bit_exactly<Sgd>(
        SgdOptions{.lr = 0.1, .momentum = 0.9, .weight_decay = 1e-2, .nesterov = true}, dtype);
    resume_bit_exactly<Adam>(AdamOptions{.lr = 1e-2, .weight_decay = 1e-2}, dtype);
    resume_bit_exactly<Absgd>(AbsgdOptions{.lr = 0.1, .lambda = 1, .gamma = 0.3}, dtype);
    resume_bit_exactly<AbAdam>(AbAdamOptions{.lr = 1e-2, .lambda = -2, .gamma = 0.3}, dtype);
  }
}

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
  EXPECT_TRUE(
      all_close(a, from_vector({2}, std::vector<double>{1 - 0.1 * 1.5, 2 - 0.1 * 2}), {0, 1e-7}));
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
      if (rule == 0)
        opt = std::make_unique<Sgd>(net.parameters, SgdOptions{.lr = 0.1, .momentum = 0.9});
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

// Where ε is as large as the root of the second moment: without the corrections, with each of them, and with one too many.
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
  EXPECT_ERROR(Sgd(Tensors{zeros({1})}, {.lr = 0.1}),
               "[optimizer] expected leaves that require a gradient");
  EXPECT_ERROR(Sgd(p, {.lr = -1}), "[optimizer] expected lr >= 0, got -1");
  EXPECT_ERROR(Sgd(p, {.lr = kNan}), "[optimizer] expected lr");
  EXPECT_ERROR(Sgd(p, {.lr = 1, .momentum = 1}), "momentum in [0, 1)");
  EXPECT_ERROR(Sgd(p, {.lr = 1, .nesterov = true}), "momentum > 0 with nesterov");
  EXPECT_ERROR(Sgd(p, {.lr = 1, .weight_decay = -1}), "weight_decay >= 0");
  EXPECT_ERROR(Sgd(p, {.lr = 1, .max_norm = kNan}), "max_norm >= 0");
  EXPECT_ERROR(Adam(p, {.lr = 1, .beta2 = 1}), "betas in [0, 1)");
  EXPECT_ERROR(Adam(p, {.lr = 1, .eps = -1}), "eps >= 0");
  Sgd opt(p, {.lr = 1});
  EXPECT_ERROR(opt.set_lr(kInfinity), "[optimizer] expected lr");
  EXPECT_ERROR(opt.weigh(zeros({2, 2}, {DType::kF64, {}})), "[weigh] expected losses f64 [B]");
  EXPECT_ERROR(opt.weigh(zeros({2})),
               "[weigh] expected losses f64 [B], one per sample, got f32 [2]");
}

}  // namespace
}  // namespace fulcrum::testing
