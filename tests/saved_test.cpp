// What a graph has saved and is written in place before the backward pass: an error, where a gradient uses it.
#include <fulcrum/core/autograd.h>
#include <fulcrum/core/random.h>
#include <fulcrum/core/recompute.h>
#include <fulcrum/core/write_log.h>
#include <fulcrum/layers/layers.h>
#include <fulcrum/optim/optimizer.h>

#include "testing.h"

namespace fulcrum::testing {
namespace {

Tensor numbers(const Shape& shape, uint64_t stream) { return random_tensor(shape, stream, -1, 1, DType::kF32); }
Tensor leaf(const Shape& shape) { return numbers(shape, 1).set_requires_grad(); }

TEST(Saved, AnInputWrittenBeforeTheBackwardPassIsAnError) {
  const Tensor x = leaf({2, 3});
  const Tensor y = sum(square(x));
  x.detach().copy_from(ones({2, 3}));
  EXPECT_ERROR(y.backward(),
               "[backward] 'square' needs a tensor f32 [2, 3] as it was in the forward pass, but it was "
               "written in place since (by copy_, an assignment to a part of it, or an optimizer's step); "
               "write after backward(), or give the operation a clone()");
}

TEST(Saved, EveryOpThatNeedsItsInputAsks) {
  const Tensor other = numbers({4, 4}, 2), labels = labels_of({0, 1, 2, 3});
  const std::vector<std::pair<const char*, std::function<Tensor(const Tensor&)>>> ops{
      {"square", [](const Tensor& x) { return square(x); }},
      {"mul", [](const Tensor& x) { return mul(x, x); }},
      {"div", [&](const Tensor& x) { return div(other, x); }},
      {"maximum", [&](const Tensor& x) { return maximum(x, other); }},
      {"pow", [](const Tensor& x) { return pow(x, 3.0); }},
      {"pow", [&](const Tensor& x) { return pow(x, other); }},
      {"amax", [](const Tensor& x) { return amax(x, {0}); }},
      {"logsumexp", [](const Tensor& x) { return logsumexp(x, {1}); }},
      {"matmul", [](const Tensor& x) { return matmul(x, x); }},
      {"matmul",
       [](const Tensor& x) {
         return matmul(x.reshape({1, 4, 4}), x.reshape({1, 4, 4}));
       }},
      {"linear", [](const Tensor& x) { return linear(x, x); }},
      {"conv2d",
       [](const Tensor& x) {
         return conv2d(x.reshape({1, 4, 4, 1}), x.reshape({1, 4, 4, 1}));
       }},
      {"batch_norm", [](const Tensor& x) { return batch_norm(x, {}); }},
      {"cross_entropy", [&](const Tensor& x) { return cross_entropy(x, labels); }},
      {"recompute", [](const Tensor& x) { return recompute([](const Tensor& t) { return exp(t); }, x); }},
  };
  for (const auto& [name, op] : ops) {
    const Tensor x = leaf({4, 4});
    const Tensor y = sum(op(x));
    sum(op(x)).backward();
    x.detach().slice(1, 2).copy_from(ones({1, 4}));
    try {
      y.backward();
      ADD_FAILURE() << name << " does not ask";
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(concat_text("'", name, "' needs")), std::string::npos) << error.what();
    }
  }
}

TEST(Saved, ResultsAndLabelsToo) {
  const Tensor x = leaf({4});
  const Tensor y = exp(x);
  y.detach().copy_from(zeros({4}));
  EXPECT_ERROR(sum(y).backward(), "[backward] 'exp' needs a tensor f32 [4]");
  const Tensor labels = labels_of({0, 1});
  const Tensor loss = sum(cross_entropy(leaf({2, 3}), labels));
  Tensor(labels).copy_from(labels_of({2, 2}));
  EXPECT_ERROR(loss.backward(), "[backward] 'cross_entropy' needs a tensor i64 [2]");
}

TEST(Saved, WhatNoGradientUsesMayBeWritten) {
  const Tensor x = leaf({3}), y = numbers({3}, 2);
  const Tensor added = sum(x + y), product = sum(x * y);
  x.detach().copy_from(zeros({3}));  // the gradient of x·y in x is y
  added.backward(), product.backward();
  EXPECT_TRUE(same_bits(x.grad(), ones({3}) + y));
}

TEST(Saved, OtherRowsOfTheSameMemoryMayBeWritten) {
  const Tensor table = numbers({4, 2}, 1);
  const Tensor head = table.slice(0, 2).set_requires_grad();
  const Tensor y = sum(square(head));
  table.slice(2, 4).copy_from(zeros({2, 2}));
  y.backward();
  EXPECT_TRUE(same_bits(head.grad(), 2 * head.detach()));
  const Tensor again = sum(square(head));
  Tensor part = table;
  index_copy_(part, 0, labels_of({1}), zeros({1, 2}));
  EXPECT_ERROR(again.backward(), "[backward] 'square' needs");
}

TEST(Saved, AnOptimizersStepIsSeen) {
  const Tensor x = leaf({2, 3});
  Linear first({.in = 3, .out = 3}), second({.in = 3, .out = 1});
  Sgd of_first(first.parameters(), {.lr = 0.1}), of_second(second.parameters(), {.lr = 0.1});
  const auto loss = [&] { return sum(second(first(x))); };
  Tensor l = loss();
  of_first.step();  // its weights take part in the gradient of x alone
  EXPECT_ERROR(l.backward(), "[backward] 'linear' needs a tensor f32 [3, 3]");
  l = sum(second(first(x.detach())));
  of_first.step();
  l.backward();
  l = loss();
  of_second.step();
  EXPECT_ERROR(l.backward(), "[backward] 'linear' needs a tensor f32 [1, 3]");
}

TEST(Saved, ATwinIsWrittenWithItsMaster) {
  Linear layer({.in = 3, .out = 2});
  layer.to(Device(), DType::kBf16);
  Sgd opt(layer.parameters(), {.lr = 0.1});
  const Tensor x = leaf({2, 3});
  const auto y = [&] { return sum(layer(x.to(DType::kBf16))); };
  Tensor before = y();
  opt.step();
  EXPECT_ERROR(before.backward(), "[backward] 'linear' needs a tensor bf16 [2, 3]");
  before = y();
  layer.weight.copy_from(zeros({2, 3}));
  EXPECT_ERROR(before.backward(), "[backward] 'linear' needs a tensor bf16 [2, 3]");
}

TEST(Saved, NumbersDrawnInPlaceAreWritten) {
  Tensor x = leaf({300});
  const Tensor y = sum(square(x));
  fill_normal(x, 0, 1, 1, 1);
  EXPECT_ERROR(y.backward(), "[backward] 'square' needs");
}

TEST(WriteLog, KnowsWhichBytesSinceWhen) {
  WriteLog log;
  const uint64_t start = log.now();
  EXPECT_FALSE(log.any_since(start, 0, 100));
  log.add(10, 20);
  EXPECT_TRUE(log.any_since(start, 0, 100));
  EXPECT_TRUE(log.any_since(start, 19, 20));
  EXPECT_FALSE(log.any_since(start, 20, 30));
  EXPECT_FALSE(log.any_since(start, 0, 10));
  const uint64_t later = log.now();
  log.add(50, 60);
  EXPECT_FALSE(log.any_since(later, 0, 50));
  EXPECT_TRUE(log.any_since(later, 59, 70));
}

TEST(WriteLog, ForgetsNothingWhenThereAreMany) {
  WriteLog log;
  const uint64_t start = log.now();
  for (size_t i = 0; i < 1000; i++) log.add(10 * i, 10 * i + 1);
  for (size_t i = 0; i < 1000; i++) EXPECT_TRUE(log.any_since(start, 10 * i, 10 * i + 1)) << i;
  const uint64_t later = log.now();
  log.add(0, 10000);
  EXPECT_TRUE(log.any_since(later, 5000, 5001));
  EXPECT_FALSE(log.any_since(log.now(), 0, 10000));
}

}  // namespace
}  // namespace fulcrum::testing
