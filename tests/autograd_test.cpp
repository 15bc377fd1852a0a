// The tape: accumulation, sharing, depth, freeing, leaves, twins, errors.
#include "testing.h"

#include <fulcrum/core/arena.h>

namespace fulcrum::testing {
namespace {

using Numbers = std::vector<double>;

Tensor leaf(const Numbers& values) {
  return from_vector({static_cast<int64_t>(values.size())}, values, {DType::kF64, {}}).set_requires_grad();
}

TEST(Autograd, TheExampleOfTheHeader) {
  const Tensor x = ones({2, 3});
  const Tensor w = from_vector({3, 1}, {1, 2, 3}).set_requires_grad();
  sum(matmul(x, w)).backward();
  EXPECT_EQ(w.grad().to_vector(), (Numbers{2, 2, 2}));
}

TEST(Autograd, SharedInputsAddUp) {
  const Tensor x = leaf({1, 2});
  sum(mul(x, x)).backward();
  EXPECT_EQ(x.grad().to_vector(), (Numbers{2, 4}));
  sum(x).backward();  // adds to what is there
  EXPECT_EQ(x.grad().to_vector(), (Numbers{3, 5}));
}

// The gradient of add is one tensor given to both inputs: adding into it in place for one of them
// would change the other's.
TEST(Autograd, AccumulationDoesNotDisturbSiblings) {
  const Tensor a = leaf({1}), b = leaf({1});
  const Tensor x = a * 1.0, y = b * 1.0;
  // The pass walks x + y first, then x · 10 while y still waits for y · 0: at that moment x adds to
  // a gradient that y holds, too.
  const Tensor last = y * 0.0, second = x * 10.0, first = x + y;
  sum(last + (second + first)).backward();
  EXPECT_EQ(a.grad().to_vector(), Numbers{11});
  EXPECT_EQ(b.grad().to_vector(), Numbers{1});
}

TEST(Autograd, LeavesDoNotShareTheirGradient) {
  const Tensor a = leaf({1}), b = leaf({1});
  sum(a + b).backward();
  EXPECT_NE(a.grad().storage(), b.grad().storage());
  sum(a).backward();
  EXPECT_EQ(a.grad().to_vector(), Numbers{2});
  EXPECT_EQ(b.grad().to_vector(), Numbers{1});
}

TEST(Autograd, TheSeedIsNotChanged) {
  const Tensor a = leaf({1, 1});
  const Tensor seed = from_vector({2}, Numbers{2, 3}, {DType::kF64, {}});
  const Tensor y = a + a;
  y.backward(seed);
  EXPECT_EQ(seed.to_vector(), (Numbers{2, 3}));
  EXPECT_EQ(a.grad().to_vector(), (Numbers{4, 6}));
  Tensor b = leaf({0, 0});
  b.backward(seed);
  b.backward(seed);
  EXPECT_EQ(seed.to_vector(), (Numbers{2, 3}));
  EXPECT_EQ(b.grad().to_vector(), (Numbers{4, 6}));
}

TEST(Autograd, ADiamondIsVisitedOnce) {
  int calls = 0;
  const Tensor x = leaf({3});
  const Tensor y = record("counted", x.detach().clone(), {x}, [&calls](const Tensor& dy, Needs) -> Grads {
    calls++;
    return {dy};
  });
  const Tensor left = y * 2.0, right = y * 3.0;
  sum(left + right).backward();
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(x.grad().to_vector(), Numbers{5});
}

TEST(Autograd, ALeafsGradientHasItsDtype) {
  const Tensor x = leaf({1, 2});
  const Tensor y =
      record("coarse", x.detach().clone(), {x}, [](const Tensor& dy, Needs) -> Grads { return {dy.to(DType::kBf16)}; });
  sum(y * 3.0).backward();
  EXPECT_EQ(x.grad().dtype(), DType::kF64);
  EXPECT_EQ(x.grad().to_vector(), (Numbers{3, 3}));
}

TEST(Autograd, OnlyWhatIsWantedIsComputed) {
  const Tensor x = random_tensor({2, 4, 4, 3}, 1), w = random_tensor({2, 3, 3, 3}, 2).set_requires_grad();
  const Tensor y = conv2d(x, w);
  EXPECT_EQ(y.node()->inputs[0], nullptr) << "no gradient for images";
  sum(y).backward();
  EXPECT_TRUE(w.grad().defined());
  EXPECT_FALSE(x.grad().defined());
}

TEST(Autograd, NoGradAndDetachRecordNothing) {
  const Tensor x = leaf({1, 2});
  {
    const NoGrad outer;
    {
      const NoGrad inner;
      EXPECT_FALSE(grad_enabled());
    }
    EXPECT_FALSE(grad_enabled());
    EXPECT_FALSE(exp(x).requires_grad());
  }
  EXPECT_TRUE(grad_enabled());
  EXPECT_FALSE(exp(x.detach()).requires_grad());
  sum(mul(x, x.detach())).backward();
  EXPECT_EQ(x.grad().to_vector(), (Numbers{1, 2}));
}

TEST(Autograd, AFrozenLeafGetsNothing) {
  Tensor x = leaf({1, 2});
  const Tensor w = leaf({3, 4});
  x.set_requires_grad(false);
  sum(x * w).backward();
  EXPECT_FALSE(x.grad().defined());
  EXPECT_EQ(w.grad().to_vector(), (Numbers{1, 2}));
}

// Deep enough that recursion in the sort or in the destructors would exhaust the stack.
TEST(Autograd, AVeryDeepGraph) {
  constexpr int kDepth = 200000;
  const Tensor x = leaf({1});
  Tensor y = x;
  for (int i = 0; i < kDepth; i++) y = neg(y);
  y.backward();
  EXPECT_EQ(x.grad().to_vector(), Numbers{1});
  for (int i = 0; i < kDepth; i++) y = i ? neg(y) : neg(x);  // destroyed without a backward pass
}

TEST(Autograd, MemoryIsFreeAfterTheBackwardPass) {
  const Tensor x = random_tensor({64, 64}, 1).set_requires_grad();
  sum(x).backward();
  const size_t before = memory_stats(Device()).allocated;
  {
    Tensor y = x;
    for (int i = 0; i < 20; i++) y = tanh(matmul(y, x));
    const Tensor loss = sum(y);
    EXPECT_GT(memory_stats(Device()).allocated, before + 20 * x.bytes());
    loss.backward();
    EXPECT_LT(memory_stats(Device()).allocated, before + 3 * x.bytes()) << "saved tensors outlive the pass";
  }
  EXPECT_EQ(memory_stats(Device()).allocated, before);
}

TEST(Autograd, ViewsAndCastsPassGradientsOn) {
  const auto through = [](const Tensors& in) {
    return mul(in[0].slice(1, 3).reshape({3, 2}).to(DType::kF32).to(DType::kF64), 3);
  };
  const Tensor x = random_tensor({4, 3}, 1).set_requires_grad();
  sum(through({x})).backward();
  EXPECT_EQ(x.grad().to_vector(), (Numbers{0, 0, 0, 3, 3, 3, 3, 3, 3, 0, 0, 0}));
  EXPECT_EQ(x.grad().dtype(), DType::kF64);
}

TEST(Autograd, CopiesPassGradientsOn) {
  const Tensor x = leaf({1.5, 2.5});
  const Tensor copy = x.clone();
  EXPECT_NE(copy.raw(), x.raw());
  sum(mul(copy, copy)).backward();
  EXPECT_EQ(x.grad().to_vector(), (Numbers{3, 5}));
  EXPECT_FALSE(x.detach().clone().requires_grad());
}

TEST(Autograd, IntegersHaveNoGradient) {
  const Tensor x = leaf({1.5, 2.5});
  EXPECT_FALSE(x.to(DType::kI32).requires_grad());
  EXPECT_FALSE(argmax(x).requires_grad());
  EXPECT_FALSE(eq(x, x).requires_grad());
}

TEST(Autograd, AComposedNetworkAgainstCentralDifferences) {
  const auto f = [](const Tensors& in) {
    const Tensor h = batch_norm(conv2d(in[0], in[1], {}, {.padding = 1}), {}, {.residual = in[0]});
    const Tensor pooled = global_avg_pool2d(tanh(h) + in[0]);
    return cross_entropy(linear(pooled, in[2]), labels_of({0, 2, 1}));
  };
  EXPECT_TRUE(
      gradients_match(f, {random_tensor({3, 4, 5, 2}, 1), random_tensor({2, 3, 3, 2}, 2), random_tensor({3, 2}, 3)}));
}

TEST(AutogradErrors, NameTheProblem) {
  const Tensor x = leaf({1, 2});
  const Tensor y = exp(x), z = sum(y);
  EXPECT_ERROR(y.backward(), "[backward] expected one element, got [2]");
  EXPECT_ERROR(y.backward(zeros({3}, {DType::kF64, {}})), "[backward] expected a seed of shape [2], got Tensor([3]");
  EXPECT_ERROR(zeros({1}).backward(), "[backward] expected a tensor that depends on a leaf");
  EXPECT_ERROR(Tensor(y).set_requires_grad(), "[requires_grad] expected a leaf, got the result of exp");
  EXPECT_ERROR(Tensor(y).set_grad(y), "[set_grad] expected a leaf");
}

TEST(AutogradErrors, AFreedGraph) {
  const Tensor x = leaf({1, 2});
  const Tensor y = exp(x), z = sum(y);
  z.backward();
  EXPECT_ERROR(z.backward(), "freed by an earlier backward pass");
  EXPECT_ERROR(sum(y * y).backward(), "freed by an earlier backward pass");
}

TEST(AutogradErrors, AGradientOfTheWrongShapeOrNumber) {
  const Tensor x = leaf({1, 2});
  const auto wrong = [&](Grads grads) {
    const Tensor y = record("odd", x.detach().clone(), {x}, [grads](const Tensor&, Needs) { return grads; });
    sum(y).backward();
  };
  EXPECT_ERROR(wrong({zeros({3}, {DType::kF64, {}})}),
               "expected the gradient from odd to leaf to have shape [2], got [3]");
  EXPECT_ERROR(wrong({}), "[autograd] expected 1 gradients from odd, got 0");
}

TEST(AutogradErrors, AFailedPassLeavesNothingToTheNext) {
  Tensor w = leaf({1});
  const Tensor h = w * 2.0;
  const Tensor bad = record("bad", h.detach().clone(), {h}, [](const Tensor&, Needs) -> Grads { fail("[bad]"); });
  const Tensor y = sum(bad + h * 5.0);
  EXPECT_ERROR(y.backward(), "[bad]");
  w.set_grad({});
  sum(h).backward();
  EXPECT_EQ(w.grad().to_vector(), Numbers{2});
}

TEST(AutogradErrors, AnOpThatReturnsItsInput) {
  const Tensor x = leaf({1});
  EXPECT_ERROR(record("same", x, {x}, [](const Tensor& dy, Needs) -> Grads { return {dy}; }),
               "[record] expected a new tensor as the result of same, got one with a history");
}

TEST(Autograd, AChainThatKeepsItsInputsIsDroppedInALoop) {
  const Tensor x = leaf({1});
  Tensor y = x;
  for (int i = 0; i < 200'000; i++)
    y = record("keeps", y.detach().clone(), {y}, [y](const Tensor& dy, Needs) -> Grads { return {dy}; });
  y = {};  // without a backward pass
}

// ---- arenas and twins ----

TEST(Arenas, LayOutMovesValuesAndKeepsHandles) {
  Tensor a = random_tensor({3, 5}, 1, -1, 1, DType::kF32).set_requires_grad();
  Tensor b = random_tensor({130}, 2, -1, 1, DType::kF32).set_requires_grad();
  const Tensor handle = a;
  const Numbers va = a.to_vector(), vb = b.to_vector();
  EXPECT_FALSE(Arena::holding({a, b}).has_value());
  Arena arena = Arena::lay_out({a, b}, {DType::kF32, {}}, DType::kBf16);
  EXPECT_EQ(a.to_vector(), va);
  EXPECT_EQ(b.to_vector(), vb);
  EXPECT_EQ(handle.storage(), arena.values.storage());
  for (const Tensor& p : {a, b}) EXPECT_EQ(p.offset() % 256, 0u);
  double total = 0;
  for (double v : arena.values.to_vector()) total += std::abs(v);
  double expected = 0;
  for (double v : va) expected += std::abs(v);
  for (double v : vb) expected += std::abs(v);
  EXPECT_NEAR(total, expected, 1e-9) << "the padding is zero";
  const auto held = Arena::holding({a, b});
  ASSERT_TRUE(held.has_value());
  EXPECT_EQ(held->offsets, arena.offsets);
  EXPECT_TRUE(held->twin.defined());
}

TEST(Arenas, GradientsGoToTheArenaAndStayThere) {
  Tensor a = leaf({1, 2}), b = leaf({3});
  const Arena arena = Arena::lay_out({a, b}, {DType::kF64, {}});
  sum(a * a).backward();
  EXPECT_EQ(a.grad().storage(), arena.grads.storage());
  EXPECT_EQ(a.grad().to_vector(), (Numbers{2, 4}));
  EXPECT_EQ(b.grad().to_vector(), Numbers{0});
}

TEST(Arenas, ATwinHoldsTheRoundedMasterAndPassesGradientsToIt) {
  Tensor w = random_tensor({4, 3}, 1, -1, 1, DType::kF32).set_requires_grad();
  Arena arena = Arena::lay_out({w}, {DType::kF32, {}}, DType::kBf16);
  const Tensor twin = w.as(DType::kBf16);
  EXPECT_EQ(twin.storage(), arena.twin.storage());
  EXPECT_TRUE(same_bits(twin, w.detach().to(DType::kBf16)));
  EXPECT_TRUE(same_bits(w.as(DType::kF32), w));
  const Tensor x = random_tensor({5, 3}, 2, -1, 1, DType::kBf16);
  sum(linear(x, twin)).backward();
  EXPECT_EQ(w.grad().dtype(), DType::kF32);
  const Tensor wide = w.detach().to(DType::kBf16).to(DType::kF64).set_requires_grad();
  sum(linear(x.to(DType::kF64), wide)).backward();
  EXPECT_TRUE(all_close(w.grad(), wide.grad(), {1e-6}));

  w.copy_from(full({4, 3}, 0.3));
  refresh_twin(w);
  EXPECT_EQ(twin.to_vector()[0], static_cast<double>(static_cast<float>(bf16(0.3f))));
  arena.values.copy_from(zeros(arena.values.shape()));
  arena.refresh_twin();
  EXPECT_EQ(twin.to_vector()[0], 0);
}

TEST(Arenas, TheGradientOfAConvolutionsTwinIsNotRounded) {
  Tensor w = random_tensor({4, 3, 3, 3}, 1, -1, 1, DType::kF32).set_requires_grad();
  Arena arena = Arena::lay_out({w}, {DType::kF32, {}}, DType::kBf16);
  const Tensor x = random_tensor({2, 5, 6, 3}, 2, -1, 1, DType::kBf16);
  sum(conv2d(x, w.as(DType::kBf16), {}, {.padding = 1})).backward();
  const Tensor wide = w.detach().to(DType::kF64).set_requires_grad();
  sum(conv2d(x.to(DType::kF64), wide, {}, {.padding = 1})).backward();
  EXPECT_TRUE(all_close(w.grad(), wide.grad(), {1e-5}));
}

TEST(Arenas, Errors) {
  EXPECT_ERROR(Arena::lay_out({}, {DType::kF32, {}}), "[arena] expected at least one parameter");
  EXPECT_ERROR(Arena::lay_out({zeros({1})}, {DType::kBf16, {}}), "[arena] expected masters in f32 or f64");
}

}  // namespace
}  // namespace fulcrum::testing
