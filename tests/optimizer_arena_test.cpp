// Optimisers and the memory of their parameters: several modules, several optimisers, what moves, what is set from outside.
#include "optim_testing.h"

#include <fulcrum/core/arena.h>
#include <fulcrum/layers/ema.h>
#include <fulcrum/layers/layers.h>

namespace fulcrum::testing {
namespace {

struct BodyAndHead {
  Linear body{{.in = 12, .out = 16, .relu = true}}, head{{.in = 16, .out = 5}};

  Tensors parameters() const {
    Tensors all = body.parameters();
    for (const Tensor& p : head.parameters()) all.push_back(p);
    return all;
  }
  Tensor losses(DType dtype = DType::kF32) {
    const Tensor x = random_tensor({10, 12}, 7, -1, 1, dtype);
    return cross_entropy(head(body(x)), labels_of({0, 1, 2, 3, 4, 0, 1, 2, 3, 4}));
  }
  double train(Optimizer& opt, DType dtype = DType::kF32) {
    double loss = 0;
    for (int step = 0; step < 200; step++) {
      opt.zero_grad();
      const Tensor l = losses(dtype);
      opt.weigh(l).backward();
      opt.step();
      loss = mean(l).item();
    }
    return loss;
  }
};

TEST(OptimizerArena, TwoModulesInBf16TrainTogether) {
  BodyAndHead net;
  net.body.to(Device(), DType::kBf16), net.head.to(Device(), DType::kBf16);
  Sgd opt(net.parameters(), {.lr = 0.5});
  EXPECT_LT(net.train(opt, DType::kBf16), 0.1);
  for (const Tensor& p : net.parameters())
    EXPECT_TRUE(same_bits(p.as(DType::kBf16).detach(), p.detach().to(DType::kBf16)));
}

TEST(OptimizerArena, WhatIsNoParameterIsNamed) {
  const Tensor w = ones({3}).set_requires_grad();
  EXPECT_ERROR(Sgd(Tensors{ones({3})}, {.lr = 1}),
               "expected leaves that require a gradient, got [3] as number 0 without");
  EXPECT_ERROR(Sgd(Tensors{w, w * 2}, {.lr = 1}), "got [3] as number 1, the result of an op");
}

TEST(OptimizerArena, GradientsFromBeforeItAreKept) {
  const Tensor w = ones({2}).set_requires_grad(), v = ones({3}).set_requires_grad();
  (sum(w * 3) + sum(v * 5)).backward();
  Sgd opt(Tensors{w, v}, {.lr = 1});
  opt.step();
  EXPECT_EQ(w.to_vector()[0], -2);
  EXPECT_EQ(v.to_vector()[0], -4);
}

TEST(OptimizerArena, MixedMastersAreRefused) {
  const Tensor a = ones({2}).set_requires_grad(), b = ones({2}, {DType::kF64, {}}).set_requires_grad();
  EXPECT_ERROR(Sgd(Tensors{a, b}, {.lr = 1}), "expected parameters of one dtype on one device, got f32 on cpu and f64");
}

TEST(OptimizerArena, ParametersThatMoveAwayAreAnError) {
  BodyAndHead net;
  Sgd opt(net.body.parameters(), {.lr = 0.1});
  const char* moved = "[optimizer] parameter 0, [16, 12], was moved since this optimizer was made";
  net.body.to(Device());
  EXPECT_ERROR(opt.step(), moved);
  EXPECT_ERROR(opt.zero_grad(), moved);
  Sgd second(net.body.parameters(), {.lr = 0.1});
  second.step();
  Sgd both(net.parameters(), {.lr = 0.1});
  EXPECT_ERROR(second.step(), moved);
}

// Their momentum and weight decay would go on.
TEST(OptimizerArena, ParametersThatWereFrozenAreAnError) {
  BodyAndHead net;
  Sgd opt(net.parameters(), {.lr = 0.1, .momentum = 0.9, .weight_decay = 0.1});
  net.body.freeze();
  EXPECT_ERROR(opt.step(), "[optimizer] parameter 0, [16, 12], was frozen since this optimizer was made");
  net.body.unfreeze();
  opt.step();
}

TEST(OptimizerArena, EachOptimizerClearsAndHoldsItsOwn) {
  struct Net : Module {
    Linear& a = add<Linear>("a", LinearOptions{.in = 4, .out = 100});
    Linear& b = add<Linear>("b", LinearOptions{.in = 100, .out = 3});
    Tensor forward(const Tensor& x) override { return b(a(x)); }
  } net;
  net.to(Device());
  Sgd lower(net.a.parameters(), {.lr = 0.1, .momentum = 0.9}), upper(net.b.parameters(), {.lr = 0.1, .momentum = 0.9});
  const Tensors ends = {net.a.weight, net.b.bias};
  Sgd both_ends(ends, {.lr = 0.1});
  mean(square(net(ones({2, 4})))).backward();
  const auto size = [](const Linear& l) { return sum(square(l.weight.grad())).item(); };
  const double a = size(net.a), b = size(net.b);
  ASSERT_GT(a, 0);
  ASSERT_GT(b, 0);
  upper.step(), upper.zero_grad();
  EXPECT_EQ(size(net.b), 0);
  EXPECT_EQ(size(net.a), a);
  const Tensor before = net.a.weight.detach().clone();
  lower.step();
  EXPECT_FALSE(same_bits(before, net.a.weight.detach()));
  mean(square(net(ones({2, 4})))).backward();
  both_ends.zero_grad();
  EXPECT_EQ(size(net.a), 0);
  EXPECT_EQ(sum(square(net.b.bias.grad())).item(), 0);
  EXPECT_GT(size(net.b), 0) << "what lies between them is another's";
  EXPECT_LT(upper.slots().at("momentum")[0].storage()->bytes(), 1000 * sizeof(float)) << "of 300 and 3 numbers";
}

TEST(OptimizerArena, GradientsThatAreSetAreThoseOfTheStep) {
  Tensor w = zeros({3}).set_requires_grad(), v = zeros({2}).set_requires_grad();
  Sgd opt(Tensors{w, v}, {.lr = 1});
  sum(w * 5.0).backward();
  w.set_grad(from_vector({3}, {1, 2, 3}));
  v.set_grad({});
  opt.step();
  EXPECT_EQ(w.to_vector(), (std::vector<double>{-1, -2, -3}));
  EXPECT_EQ(v.to_vector(), (std::vector<double>{0, 0}));
  opt.zero_grad();
  EXPECT_EQ(w.grad().to_vector(), (std::vector<double>{0, 0, 0}));
  EXPECT_ERROR(w.set_grad(zeros({4})), "[set_grad] expected f32 [3] on cpu, got Tensor([4], f32");
  EXPECT_ERROR(w.set_grad(zeros({3}, {DType::kF64, {}})), "[set_grad] expected f32 [3]");
}

TEST(OptimizerArena, AnAverageFollowsParametersThatTheOptimizerMoved) {
  BodyAndHead net;
  Ema ema(net.head, 0.5);
  const Tensor first = net.head.weight.detach().clone();
  Sgd opt(net.head.parameters(), {.lr = 1});
  sum(net.head.weight).backward();  // a step of −1 for each
  opt.step();
  ema.update();
  EXPECT_TRUE(all_close(ema.tensors()[0].tensor, first - 0.5, {0, 1e-6}));
}

TEST(OptimizerArena, AnAverageRefusesAModelThatBecameAnother) {
  BodyAndHead net;
  Ema ema(net.head, 0.5);
  net.head.to(Device(), DType::kF64);
  EXPECT_ERROR(ema.update(), "[ema] expected f32 on cpu as when the average was made, got f64 on cpu");
}

TEST(OptimizerArena, WritingIntoAParameterReachesItsTwin) {
  BodyAndHead net;
  net.head.to(Device(), DType::kBf16);
  Tensor w = net.head.weight;
  w.copy_from(full(w.shape(), 0.25));
  EXPECT_EQ(w.as(DType::kBf16).to_vector()[0], 0.25);
}

TEST(OptimizerArena, GoesOnFromItsStateDict) {
  Mlp a, b;
  Absgd first(a.parameters, {.lr = 0.1, .lambda = 2}), second(b.parameters, {.lr = 0.1, .lambda = 2});
  a.train(first, 0, 5);
  const auto state = first.state_dict();
  for (size_t i = 0; i < a.parameters.size(); i++) b.parameters[i].copy_from(a.parameters[i]);
  a.train(first, 5);
  second.load_state_dict(state);
  b.train(second, 5);
  EXPECT_TRUE(same_parameters(a.parameters, b.parameters));
  EXPECT_EQ(second.steps(), kSteps);
  auto lacking = state;
  lacking.erase("momentum.1");
  EXPECT_ERROR(second.load_state_dict(lacking), "[optim] the state lacks 'momentum.1'");
}

class OddRisk : public Risk {
 public:
  explicit OddRisk(Shape shape) : Risk(Device()), shape_(shape) {}
  const char* name() const override { return "odd"; }
  Tensor weights(const Tensor&, const BatchContext&) override { return ones(shape_); }
  std::map<std::string, Tensor> state() override { return {}; }

 private:
  Shape shape_;
};

TEST(OptimizerArena, WeightsOfAnotherShapeThanTheLossesAreRefused) {
  const Tensor w = ones({6}).set_requires_grad();
  Sgd opt(Tensors{w}, {.lr = 1});
  for (const Shape& shape : {Shape{6, 1}, Shape{1}, Shape{}}) {
    opt.set_risk(std::make_unique<OddRisk>(shape));
    EXPECT_ERROR(opt.weigh(w * 2.0), "[weigh] expected weights f32 [6] from the risk 'odd', got Tensor(");
  }
  EXPECT_ERROR(opt.set_risk(nullptr), "[optimizer] expected a risk, got none");
}

}  // namespace
}  // namespace fulcrum::testing
