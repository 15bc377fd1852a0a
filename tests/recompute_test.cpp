// Functions that run a second time in the backward pass: the bits of the plain pass, side effects once, less memory.
#include <fulcrum/core/arena.h>
#include <fulcrum/core/profile.h>
#include <fulcrum/core/recompute.h>
#include <fulcrum/layers/imagenet_resnet.h>
#include <fulcrum/layers/models.h>
#include <fulcrum/layers/resnet.h>
#include <fulcrum/optim/absgd.h>

#include "testing.h"

namespace fulcrum::testing {
namespace {

using Numbers = std::vector<double>;

Tensor leaf(const Shape& shape, uint64_t stream) { return random_tensor(shape, stream).set_requires_grad(); }

TEST(Recompute, RunsTheFunctionAgainInTheBackwardPass) {
  Tensor x = leaf({2, 3}, 1), w = leaf({3, 4}, 2);
  int runs = 0;
  const Tensor y = recompute(
      [&](const Tensor& in) {
        runs++;
        return tanh(matmul(in, w));
      },
      x);
  EXPECT_EQ(runs, 1);
  EXPECT_TRUE(y.requires_grad());
  EXPECT_TRUE(same_bits(y, tanh(matmul(x.detach(), w.detach()))));
  sum(y).backward();
  EXPECT_EQ(runs, 2);
  const Tensor dx = x.grad().clone(), dw = w.grad().clone();
  x.set_grad(zeros_like(x)), w.set_grad(zeros_like(w));
  sum(tanh(matmul(x, w))).backward();
  EXPECT_TRUE(same_bits(dx, x.grad()));
  EXPECT_TRUE(same_bits(dw, w.grad()));
}

TEST(Recompute, GradientsAgainstCentralDifferences) {
  const auto f = [](const Tensors& in) {
    const auto block = [](const Tensors& t) {
      return batch_norm(conv2d(t[0], t[1], {}, {.padding = 1}), {}, {.residual = t[0]});
    };
    const Tensor h = recompute(block, {in[0], in[1]});
    const auto head = [&](const Tensor& t) { return linear(global_avg_pool2d(tanh(t) + in[0]), in[2]); };
    return cross_entropy(recompute(head, h), labels_of({0, 2, 1}));
  };
  EXPECT_TRUE(
      gradients_match(f, {random_tensor({3, 4, 5, 2}, 1), random_tensor({2, 3, 3, 2}, 2), random_tensor({3, 2}, 3)}));
}

// What the function takes beside its inputs gets its gradient: leaves, and results of ops that others use, too.
TEST(Recompute, TensorsBesideTheInputsGetTheirGradients) {
  const auto gradients = [](bool again) {
    const Tensor x = leaf({3}, 1), w = leaf({3}, 2);
    const Tensor z = exp(w);
    const auto f = [&](const Tensor& in) { return mul(mul(in, z), w); };
    const Tensor y = again ? recompute(f, x) : f(x);
    sum(y + z * x).backward();
    return std::pair(x.grad(), w.grad());
  };
  const auto [dx, dw] = gradients(true);
  const auto [x, w] = gradients(false);
  EXPECT_TRUE(all_close(dx, x, {1e-15}));
  EXPECT_TRUE(all_close(dw, w, {1e-15}));
}

TEST(Recompute, InputsWithoutGradientAndOnesThatAreHandedThrough) {
  const Tensor images = random_tensor({2, 3}, 1), w = leaf({3, 3}, 2);
  Tensor x = leaf({2, 3}, 3);
  sum(recompute([&](const Tensor& in) { return matmul(in, w); }, images)).backward();
  EXPECT_TRUE(w.grad().defined());
  EXPECT_FALSE(images.requires_grad());
  sum(recompute([](const Tensor& in) { return in; }, x)).backward();
  EXPECT_EQ(x.grad().to_vector(), Numbers(6, 1));
  sum(recompute([&](const Tensor&) { return w; }, images)).backward();
  EXPECT_FALSE(recompute([](const Tensor& in) { return exp(in.detach()); }, images).requires_grad());
  const Tensor cut = recompute([](const Tensor& in) { return exp(in.detach()); }, x);  // nothing flows
  x.set_grad(zeros_like(x));
  sum(cut).backward();
  EXPECT_EQ(x.grad().to_vector(), Numbers(6, 0));
}

TEST(Recompute, FrozenParametersAndNoGradMode) {
  Tensor w = leaf({3}, 1);
  const Tensor x = leaf({3}, 2);
  int runs = 0;
  const auto f = [&](const Tensor& in) {
    runs++;
    return mul(in, w);
  };
  w.set_requires_grad(false);
  sum(recompute(f, x)).backward();
  EXPECT_EQ(x.grad().to_vector(), w.to_vector());
  EXPECT_FALSE(w.grad().defined());
  EXPECT_EQ(runs, 2);
  EXPECT_FALSE(recompute(f, x.detach()).requires_grad()) << "nothing wants a gradient";
  const NoGrad no_grad;
  EXPECT_FALSE(recompute(f, x).requires_grad());
  EXPECT_EQ(runs, 4);
}

TEST(Recompute, WithinEachOther) {
  const auto gradients = [](bool again) {
    const Tensor x = leaf({4, 8}, 1), w = leaf({8, 8}, 2);
    Generator generator(kSeed, streams::kDropout);
    const auto inner = [&](const Tensor& in) { return dropout(tanh(matmul(in, w)), 0.5, generator); };
    const auto outer = [&](const Tensor& in) {
      const Tensor h = again ? recompute(inner, dropout(in, 0.3, generator)) : inner(dropout(in, 0.3, generator));
      return again ? recompute(inner, h) : inner(h);
    };
    const Tensor y = again ? recompute(outer, x) : outer(x);
    const Tensor after = dropout(y, 0.5, generator);
    sum(square(after)).backward();
    return Tensors{y.detach(), x.grad(), w.grad(), generator.position};
  };
  const Tensors a = gradients(true), b = gradients(false);
  for (size_t i = 0; i < a.size(); i++) EXPECT_TRUE(same_bits(a[i], b[i])) << i;
}

TEST(Recompute, AVeryDeepChain) {
  constexpr int kDepth = 50000;
  const Tensor x = leaf({1}, 1);
  const auto f = [](const Tensor& in) { return neg(in); };
  Tensor y = x;
  for (int i = 0; i < kDepth; i++) y = recompute(f, y);
  y.backward();
  EXPECT_EQ(x.grad().to_vector(), Numbers{1});
  for (int i = 0; i < kDepth; i++) y = i ? recompute(f, y) : recompute(f, x);  // destroyed without a backward pass
}

// ---- training ----

struct TrainingCase {
  const char* name;
  DType dtype;
  bool photographs = false;  // bottlenecks
  bool freeze = false;
};

void PrintTo(const TrainingCase& c, std::ostream* out) { *out << c.name; }

std::unique_ptr<Module> network(const TrainingCase& c, bool again) {
  auto net = make_model(c.photographs ? "resnet50" : "resnet20",
                        {.classes = 5, .dropout = 0.2, .stem = "cifar", .seed = 3, .recompute = again});
  if (c.freeze) net->children()[2]->freeze();  // layer1
  net->to({}, c.dtype);
  return net;
}

class RecomputeTraining : public ::testing::TestWithParam<TrainingCase> {};

// Steps of ABSGD, with dropout in the blocks' outputs, too: weights, running statistics and counters, momentum and the
// positions of generators are the same bits after each.
TEST_P(RecomputeTraining, HasTheBitsOfPlainTraining) {
  const auto train = [&](bool again) {
    const auto net = network(GetParam(), again);
    Absgd optimizer(net->parameters(), {.lr = 0.05, .momentum = 0.9, .weight_decay = 1e-3, .lambda = 2, .gamma = 0.5});
    Generator generator(kSeed, streams::kDropout);
    Tensors states;
    for (uint64_t step = 0; step < 3; step++) {
      const Tensor images = random_tensor({6, 8, 8, 3}, 40 + step, -1, 1, DType::kF32).to(GetParam().dtype);
      const auto logits = [&](const Tensor& x) { return dropout((*net)(x), 0.3, generator); };
      const Tensor losses =
          cross_entropy(again ? recompute(logits, images) : logits(images), labels_of({0, 1, 2, 3, 4, 0}));
      optimizer.zero_grad();
      optimizer.weigh(losses).backward();
      optimizer.step();
      states.push_back(losses.detach());
      for (const Tensor& p : net->parameters()) states.push_back(p.detach().clone());
      for (const auto& b : net->named_buffers()) states.push_back(b.tensor.clone());
      for (const auto& [name, g] : net->named_generators()) states.push_back(g->position.clone());
      for (const auto& [name, t] : optimizer.state()) states.push_back(t.clone());
      states.push_back(generator.position.clone());
    }
    return states;
  };
  const Tensors plain = train(false), again = train(true);
  ASSERT_EQ(plain.size(), again.size());
  for (size_t i = 0; i < plain.size(); i++) ASSERT_TRUE(same_bits(plain[i], again[i])) << "tensor " << i;
}

INSTANTIATE_TEST_SUITE_P(Networks, RecomputeTraining,
                         ::testing::Values(TrainingCase{"F32", DType::kF32}, TrainingCase{"Bf16", DType::kBf16},
                                           TrainingCase{"F64", DType::kF64},
                                           TrainingCase{"Bottlenecks", DType::kF32, true},
                                           TrainingCase{"Bf16Bottlenecks", DType::kBf16, true},
                                           TrainingCase{"Frozen", DType::kF32, false, true}),
                         [](const auto& c) { return c.param.name; });

TEST(RecomputeMemory, ADeepNetworkNeedsLess) {
  const auto peak = [](bool again) {
    Resnet net = resnet56({.recompute = again});
    net.to({});
    const Tensor images = random_tensor({8, 32, 32, 3}, 1, -1, 1, DType::kF32);
    const size_t before = memory_stats(Device()).allocated;
    reset_peak_memory(Device());
    sum(net(images)).backward();
    EXPECT_EQ(memory_stats(Device()).allocated, before) << "nothing outlives the pass";
    return memory_stats(Device()).peak - before;
  };
  const size_t plain = peak(false), again = peak(true);
  // 27 blocks keep one tensor in four.
  EXPECT_LT(static_cast<double>(again), 0.4 * static_cast<double>(plain)) << again << " and " << plain;
}

// ---- what looks on ----

TEST(Recompute, TheObserverSeesTheOpsAndWhoseTheyWere) {
  const Tensor x = leaf({2, 2}, 1), w = leaf({2, 2}, 2);
  std::vector<std::string> seen;
  int64_t ops = 0;
  const OpObserver observer([&](const OpObserver::Op& op) {
    seen.emplace_back(op.name);
    if (const auto* call = op.detail.as<RecomputeCall>()) ops = call->ops;
  });
  const Tensor y = exp(recompute([&](const Tensor& in) { return tanh(matmul(in, w)); }, exp(x)));
  EXPECT_EQ(seen, (std::vector<std::string>{"exp", "matmul", "tanh", "recompute", "exp"}));
  EXPECT_EQ(ops, 2);
}

TEST(Recompute, TheProfileChargesBothRunsToTheOps) {
  const Tensor x = leaf({2, 3}, 1), w = leaf({3, 4}, 2);
  Profile profile;
  {
    const Profiling on(profile);
    sum(recompute([&](const Tensor& in) { return matmul(in, w); }, x)).backward();
  }
  EXPECT_EQ(profile.rows.at("matmul").calls, 2);
  EXPECT_EQ(profile.rows.at("matmul").work.flop, 2 * 2.0 * 2 * 3 * 4);
  EXPECT_EQ(profile.rows.at("matmul gradient").calls, 1);
  EXPECT_FALSE(profile.rows.contains("recompute"));
}

/// Writes down when a gradient has all its terms, and what it is then.
struct Log : BackwardListener {
  std::vector<const Node*> done;
  Numbers first;  // of each gradient, when it was done
  std::vector<Tensor> sums;
  bool leaf_done(const Node& leaf) override {
    done.push_back(&leaf);
    sums.push_back(leaf.grad);
    return true;
  }
  void summed() override { first.push_back(sums.back().to_vector()[0]); }
  void advance() override {}
};

// w is used in two functions and between them: it is complete after the first of the three, which comes last.
TEST(Recompute, AListenerHearsOfAGradientWhenItIsComplete) {
  const Tensor x = ones({2}, {DType::kF64, {}});
  Tensor w = full({2}, 2, {DType::kF64, {}}).set_requires_grad(),
         v = full({2}, 3, {DType::kF64, {}}).set_requires_grad();
  w.set_grad(zeros_like(w)), v.set_grad(zeros_like(v));
  const auto square_of_w = [&](const Tensor& in) { return mul(mul(in, w), w); };
  const Tensor y =
      recompute([&](const Tensor& in) { return mul(square_of_w(in), v); }, mul(recompute(square_of_w, x), w));
  Log log;
  {
    const Listening on(log);
    sum(y).backward();
  }
  EXPECT_EQ(log.done, (std::vector<const Node*>{v.node().get(), w.node().get()}));
  EXPECT_EQ(log.first, (Numbers{32, 5 * 16 * 3}));
}

TEST(RecomputeErrors, AFunctionThatDoesNotDoTheSameAgain) {
  const Tensor x = leaf({4}, 1);
  Generator generator(kSeed, streams::kDropout);
  const auto after = [&](const std::function<Tensor(const Tensor&, int run)>& f) {
    int run = 0;
    sum(recompute([&](const Tensor& in) { return f(in, run++); }, x)).backward();
  };
  EXPECT_ERROR(after([](const Tensor& in, int run) { return run ? in.slice(0, 2) * 2.0 : in * 2.0; }),
               "[recompute] expected the function to give f64 [4] again, got f64 [2]");
  EXPECT_ERROR(after([&](const Tensor& in, int run) { return run ? in * 2.0 : dropout(in, 0.5, generator); }),
               "[recompute] expected the function to draw random numbers 1 times again, got fewer");
  EXPECT_ERROR(after([&](const Tensor& in, int run) { return run ? dropout(in, 0.5, generator) : in * 2.0; }),
               "[recompute] expected the function to draw random numbers 0 times again, got more");
  EXPECT_FALSE(recomputing());
  const Tensor y = recompute([](const Tensor& in) { return exp(in); }, x);
  sum(y).backward();
  EXPECT_ERROR(sum(y * y).backward(), "freed by an earlier backward pass");
}

TEST(RecomputeErrors, NetworksWithoutBlocks) {
  EXPECT_ERROR(make_model("mlp", {.recompute = true}), "[model] recompute: expected a network of residual blocks");
  EXPECT_ERROR(make_model("sce_cnn", {.recompute = true}), "[model] recompute: expected a network of residual blocks");
}

}  // namespace
}  // namespace fulcrum::testing
