// Optimisers as a whole: PyTorch's traces, ABSGD at an infinite λ against its rule, resuming.
#include "optim_testing.h"

#include <fulcrum/layers/resnet.h>

namespace fulcrum::testing {
namespace {

// ---- PyTorch's traces ----

std::unique_ptr<Optimizer> optimizer_of(const Tensors& parameters, const Json& t) {
  const Json none;
  const Json& risk = t.has("risk") ? t["risk"] : none;
  const bool waits = risk.has("from_step");
  const double lambda = waits ? kInfinity : risk.get("lam", kInfinity);
  const UInit start = risk.has("u_init") && risk["u_init"].text == "first_batch" ? UInit::kFirstBatch : UInit::kZero;
  if (t["optimizer"].text == "sgd")
    return std::make_unique<Absgd>(parameters, AbsgdOptions{.lr = t["lr"].number,
                                                            .momentum = t.get("momentum", 0),
                                                            .weight_decay = t.get("weight_decay", 0),
                                                            .nesterov = t.get("nesterov", 0) != 0,
                                                            .max_norm = t.get("clip", 0),
                                                            .lambda = lambda,
                                                            .gamma = risk.get("gamma", 0.9),
                                                            .alpha = risk.get("alpha", 1),
                                                            .additive = risk.get("additive", 0),
                                                            .u_init = start});
  return std::make_unique<AbAdam>(parameters, AbAdamOptions{.lr = t["lr"].number,
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
      if (weighted && step == static_cast<int>(t["risk"].get("from_step", 0))) kl.set_lambda(t["risk"]["lam"].number);
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
        EXPECT_TRUE(all_close(net.parameters[i], golden[name + ".final." + paths[i]], {tolerance})) << paths[i];
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
      EXPECT_TRUE(same_summary(fc, golden[std::string(name) + ".final.fc.weight"], tolerance)) << name;
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
  const KlRiskOptions risk{
      .lambda = 0.7, .gamma = 0.4, .alpha = 0.6, .additive = 1, .u_init = UInit::kZero, .keep_u = true};
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
      AdamOptions{
          .lr = 0.01, .beta1 = 0.7, .beta2 = 0.9, .eps = 0.1, .weight_decay = 0.1, .decoupled = true, .max_norm = 0.1},
      AbAdamOptions{
          .lr = 0.01, .beta1 = 0.7, .beta2 = 0.9, .eps = 0.1, .weight_decay = 0.1, .decoupled = true, .max_norm = 0.1});
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
    for (size_t i = 0; i < tensors.size(); i++) Tensor(tensors[i]).copy_from(before.slots().at(key)[i]);
  second.train(after, 5, 10);
  EXPECT_TRUE(same_parameters(whole.parameters, second.parameters));
  EXPECT_EQ(after.steps(), 10);
  for (auto& [key, tensor] : after.state()) EXPECT_TRUE(same_bits(tensor, straight.state().at(key))) << key;
}

TEST(Resume, FiveStepsAndFiveAreTen) {
  for (DType dtype : {DType::kF32, DType::kF64}) {
    resume_bit_exactly<Sgd>(SgdOptions{.lr = 0.1, .momentum = 0.9, .weight_decay = 1e-2, .nesterov = true}, dtype);
    resume_bit_exactly<Adam>(AdamOptions{.lr = 1e-2, .weight_decay = 1e-2}, dtype);
    resume_bit_exactly<Absgd>(AbsgdOptions{.lr = 0.1, .lambda = 1, .gamma = 0.3}, dtype);
    resume_bit_exactly<AbAdam>(AbAdamOptions{.lr = 1e-2, .lambda = -2, .gamma = 0.3}, dtype);
  }
}

}  // namespace
}  // namespace fulcrum::testing
