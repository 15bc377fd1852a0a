// Every row of op_cases.h, and what a table cannot say of the operations: errors, ties, statistics.
#include "op_cases_nn.h"

#include <fulcrum/core/cuda/runtime.h>

#include <limits>
#include <set>

namespace fulcrum::testing {
namespace {

class Ops : public ::testing::TestWithParam<OpCase> {};

std::vector<bool> wanted(const OpCase& row) {
  std::vector<bool> w;
  for (const OpInput& spec : row.inputs) w.push_back(spec.gradient);
  return w;
}

// Leaves and result of a row in `dtype`, and what a backward pass seeded with random numbers
// leaves.
struct Trial {
  Tensors inputs;
  Tensor y;

  Trial(const OpCase& row, const Tensors& numbers, DType dtype) {
    inputs = leaves_of(row, numbers, dtype);
    y = row.op(inputs);
  }
  void backward(const Tensor& with) { y.backward(with); }
};

// What a backward pass starts from.
Tensor seed_of(const Trial& trial) {
  return random_tensor(trial.y.shape(), 300, -1, 1, trial.y.dtype()).to(trial.y.device());
}

// Calls f while the cached blocks of these sizes hold 0xFF, NaN in every floating dtype: a kernel
// that does not write all of its output, or reads it before, is seen. kernels_test.cpp has guards.
template <class F>
auto with_poisoned_pool(const std::set<size_t>& sizes, F f) {
  empty_cache(test_device());
  std::vector<std::shared_ptr<Storage>> blocks;
  for (size_t bytes : sizes) {
    for (int i = 0; i < 24; i++) {
      blocks.push_back(Storage::allocate(test_device(), bytes));
      if (test_device().is_cpu()) std::memset(blocks.back()->data(), 0xFF, blocks.back()->bytes());
      else cuda::set_bytes(blocks.back()->data(), 0xFF, blocks.back()->bytes());
    }
  }
  blocks.clear();
  return f();
}

std::set<size_t> sizes_of(const Trial& run) {
  std::set<size_t> sizes{run.y.bytes()};
  for (const Tensor& x : run.inputs) sizes.insert(x.bytes());
  return sizes;
}

TEST_P(Ops, EqualsItsOracleInF64) {
  const Tensors numbers = numbers_of(GetParam());
  const Trial run(GetParam(), numbers, DType::kF64);
  EXPECT_EQ(run.y.dtype(), DType::kF64);
  EXPECT_TRUE(all_close(run.y, GetParam().oracle(numbers), {1e-12, 1e-13}));
}

TEST_P(Ops, AResultThatIsNotUsedGivesBackItsMemory) {
  const Tensors numbers = numbers_of(GetParam());
  const auto held_after = [&] {
    Trial(GetParam(), numbers, DType::kF32);
    return memory_stats(test_device()).allocated;
  };
  const size_t first = held_after();  // with what an operation keeps for the next
  EXPECT_EQ(held_after(), first);
}

TEST_P(Ops, GradientsEqualCentralDifferences) {
  EXPECT_TRUE(gradients_match(GetParam().op, numbers_of(GetParam()), wanted(GetParam())));
}

TEST_P(Ops, NarrowDtypesFollowF64) {
  const OpCase& row = GetParam();
  for (DType dtype : {DType::kF32, DType::kBf16}) {
    SCOPED_TRACE(name_of(dtype));
    const Tensors numbers = numbers_of(row);
    const auto probe = std::make_unique<Trial>(row, numbers, dtype);
    const std::set<size_t> sizes = sizes_of(*probe);
    const Tensor seed = seed_of(*probe);
    Trial narrow = with_poisoned_pool(sizes, [&] {
      Trial trial(row, numbers, dtype);
      trial.backward(seed);
      return trial;
    });
    // The reference starts from the same rounded numbers.
    Trial wide(row, narrow.inputs, DType::kF64);
    wide.backward(seed.to(DType::kF64));
    const auto compare = [&](const char* what, size_t i, const Tensor& got, const Tensor& expected) {
      SCOPED_TRACE(concat_text(what, i));
      if (dtype == DType::kF32) {
        EXPECT_TRUE(all_close(got, expected, {row.f32, 1e-6}));
      } else {
        EXPECT_LE(relative_distance(got, expected), row.bf16);
      }
    };
    compare("result ", 0, narrow.y, wide.y);
    for (size_t i = 0; i < narrow.inputs.size(); i++) {
      if (!row.inputs[i].gradient) continue;
      EXPECT_EQ(narrow.inputs[i].grad().dtype(), narrow.inputs[i].dtype());
      compare("gradient ", i, narrow.inputs[i].grad(), wide.inputs[i].grad());
    }
  }
}

TEST_P(Ops, GivesTheSameBitsTwice) {
  Trial first(GetParam(), numbers_of(GetParam()), DType::kF32);
  Trial second(GetParam(), numbers_of(GetParam()), DType::kF32);
  first.backward(seed_of(first));
  second.backward(seed_of(second));
  EXPECT_TRUE(same_bits(first.y, second.y));
  for (size_t i = 0; i < first.inputs.size(); i++)
    if (GetParam().inputs[i].gradient) {
      EXPECT_TRUE(same_bits(first.inputs[i].grad(), second.inputs[i].grad())) << i;
    }
}

INSTANTIATE_TEST_SUITE_P(Table, Ops, ::testing::ValuesIn(all_op_cases()),
                         [](const auto& row) { return row.param.name; });

// ---- what the table does not say ----

Tensor images(Shape shape) { return random_tensor(shape, 1, -1, 1, DType::kF32); }

TEST(OpValues, TiesShareTheGradientOfMaximum) {
  Tensor a = from_vector({3}, std::vector<double>{1, 2, 3}).set_requires_grad();
  Tensor b = from_vector({3}, std::vector<double>{1, 1, 4}).set_requires_grad();
  sum(maximum(a, b)).backward();
  EXPECT_EQ(a.grad().to_vector(), (std::vector<double>{0.5, 1, 0}));
  EXPECT_EQ(b.grad().to_vector(), (std::vector<double>{0.5, 0, 1}));
}

TEST(OpValues, TiesShareTheGradientOfAmax) {
  Tensor x = from_vector({1, 4}, std::vector<double>{7, 1, 7, 2}).set_requires_grad();
  sum(amax(x, {1})).backward();
  EXPECT_EQ(x.grad().to_vector(), (std::vector<double>{0.5, 0, 0.5, 0}));
}

TEST(OpValues, MaxPoolGivesATieToTheFirst) {
  Tensor x = ones({1, 2, 2, 1}).set_requires_grad();
  sum(max_pool2d(x, {.kernel = 2, .stride = 2})).backward();
  EXPECT_EQ(x.grad().to_vector(), (std::vector<double>{1, 0, 0, 0}));
}

TEST(OpValues, AtAKinkTheGradientIsZero) {
  Tensor (*const kinked[])(const Tensor&) = {relu, abs};
  for (const auto op : kinked) {
    Tensor x = from_vector({3}, std::vector<double>{-2, 0, 2}).set_requires_grad();
    sum(op(x)).backward();
    EXPECT_EQ(x.grad().to_vector()[1], 0);
  }
}

// Fine-tuning of biases: the gradient of the weight, which is computed along with it otherwise, is not wanted.
TEST(OpValues, ABiasAloneGetsItsGradient) {
  const Tensor seed = random_tensor({4, 5}, 1), x = random_tensor({4, 3}, 2), w = random_tensor({5, 3}, 3);
  Tensor of_linear = zeros({5}, {DType::kF64, {}}).set_requires_grad(), of_conv = of_linear.detach().clone();
  of_conv.set_requires_grad();
  linear(x, w, of_linear).backward(seed);
  conv2d(x.reshape({4, 1, 1, 3}), w.reshape({5, 1, 1, 3}), of_conv).backward(seed.reshape({4, 1, 1, 5}));
  const Tensor expected = sum(seed, {0});
  EXPECT_TRUE(all_close(of_linear.grad(), expected, {1e-14}));
  EXPECT_TRUE(all_close(of_conv.grad(), expected, {1e-14}));
}

TEST(OpValues, NonFiniteNumbersAreNotHidden) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Tensor x = from_vector({2, 2}, std::vector<double>{nan, 1, 2, 3});
  EXPECT_TRUE(std::isnan(relu(x).to_vector()[0]));
  EXPECT_TRUE(std::isnan(sum(x).item()));
  EXPECT_TRUE(std::isnan(amax(x, {0, 1}).item()));
  EXPECT_TRUE(std::isnan(softmax(x).to_vector()[1]));
  EXPECT_TRUE(std::isnan(maximum(x, zeros({2, 2})).to_vector()[0]));
  EXPECT_TRUE(std::isnan(max_pool2d(x.reshape({1, 2, 2, 1}), {.kernel = 2, .stride = 2}).item()));
  EXPECT_TRUE(std::isnan(cross_entropy(x, labels_of({1, 1})).to_vector()[0]));
}

TEST(OpValues, WhatWhereLeavesOutLeavesNoTrace) {
  Tensor x = from_vector({3}, std::vector<double>{0, 4, -1}).set_requires_grad();
  const Tensor y = where(gt(x, 0), log(x), 0);
  EXPECT_EQ(y.to_vector(), (std::vector<double>{0, std::log(4.0F), 0}));
  Tensor a = from_vector({2}, std::vector<double>{INFINITY, 2}).set_requires_grad();
  sum(where(from_vector({2}, std::vector<int64_t>{0, 1}), a, 5)).backward();
  EXPECT_EQ(a.grad().to_vector(), (std::vector<double>{0, 1}));
  EXPECT_EQ(where(from_vector({2}, {1e-300, 0.0}, {DType::kF64, {}}), 1, zeros({2})).to_vector(),
            (std::vector<double>{1, 0}));
}

TEST(OpValues, Comparisons) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Tensor a = from_vector({4}, std::vector<double>{1, 2, 3, nan}), b = full({4}, 2);
  using Numbers = std::vector<double>;
  EXPECT_EQ(eq(a, b).to_vector(), (Numbers{0, 1, 0, 0}));
  EXPECT_EQ(ne(a, b).to_vector(), (Numbers{1, 0, 1, 1}));
  EXPECT_EQ(gt(a, b).to_vector(), (Numbers{0, 0, 1, 0}));
  EXPECT_EQ(ge(a, b).to_vector(), (Numbers{0, 1, 1, 0}));
  EXPECT_EQ(lt(a, b).to_vector(), (Numbers{1, 0, 0, 0}));
  EXPECT_EQ(le(a, b).to_vector(), (Numbers{1, 1, 0, 0}));
  const Tensor labels = labels_of({0, 1, 2});
  EXPECT_EQ(gt(labels, 0.5).to_vector(), (Numbers{0, 1, 1}));
  EXPECT_EQ(le(labels, 1).dtype(), DType::kF32);
}

TEST(OpValues, PowersAsPyTorchHasThem) {
  Tensor x = from_vector({3}, std::vector<double>{0, -2, 3}).set_requires_grad();
  pow(x, 2).backward(ones({3}));
  EXPECT_EQ(x.grad().to_vector(), (std::vector<double>{0, -4, 6}));
  x.set_grad({});
  pow(x, 0).backward(ones({3}));
  EXPECT_EQ(x.grad().to_vector(), (std::vector<double>{0, 0, 0}));
  EXPECT_TRUE(std::isnan(pow(x, 0.5).to_vector()[1]));
}

TEST(OpValues, LogsumexpOfInfiniteNumbers) {
  const Tensor x = from_vector({3, 2}, std::vector<double>{-INFINITY, -INFINITY, INFINITY, 1, -INFINITY, 1});
  EXPECT_EQ(logsumexp(x, {1}).to_vector(), (std::vector<double>{-INFINITY, INFINITY, 1}));
}

TEST(OpValues, TablesByIndex) {
  Tensor table = zeros({4, 2});
  const Tensor index = labels_of({3, 1, 3});
  index_copy_(table, 0, index, from_vector({3, 2}, std::vector<double>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(table.to_vector(), (std::vector<double>{0, 0, 3, 4, 0, 0, 5, 6}));
  EXPECT_EQ(index_select(table, 0, index).to_vector(), (std::vector<double>{5, 6, 3, 4, 5, 6}));
  EXPECT_EQ(index_select(index, 0, labels_of({1})).dtype(), DType::kI64);
  Tensor x = from_vector({4}, {0.0, 1.0, 2.0, 3.0});
  index_copy_(x, 0, labels_of({1, 2, 3}), x.slice(0, 3));  // which is read before it is written
  EXPECT_EQ(x.to_vector(), (std::vector<double>{0, 0, 1, 2}));
  EXPECT_EQ(one_hot(labels_of({2, 0}), 3).to_vector(), (std::vector<double>{0, 0, 1, 1, 0, 0}));
}

TEST(OpValues, ArgmaxTakesTheFirstOfEqualElements) {
  const Tensor x = from_vector({2, 4}, std::vector<double>{1, 5, 5, 0, -3, -4, -2, -2});
  EXPECT_EQ(argmax(x).to_vector(), (std::vector<double>{1, 2}));
  EXPECT_EQ(argmax(x).dtype(), DType::kI64);
  EXPECT_EQ(argmax(x.to(DType::kBf16)).to_vector(), (std::vector<double>{1, 2}));
}

TEST(OpValues, BatchNormUpdatesItsRunningStatistics) {
  const Tensor x = random_tensor({4, 3, 2, 3}, 1, -1, 3, DType::kF32);
  const Tensor mean = random_tensor({3}, 2, -1, 1, DType::kF32), var = random_tensor({3}, 3, 0.5, 1, DType::kF32);
  const auto m0 = mean.to_vector(), v0 = var.to_vector();
  const Tensor y = batch_norm(x, {{}, {}, mean, var}, {.momentum = 0.3});
  const View rows(x.reshape({24, 3}));
  for (int64_t c = 0; c < 3; c++) {
    double m = 0, v = 0;
    for (int64_t r = 0; r < 24; r++) m += rows(r, c) / 24;
    for (int64_t r = 0; r < 24; r++) v += std::pow(rows(r, c) - m, 2) / 23;  // unbiased
    const auto i = static_cast<size_t>(c);
    EXPECT_NEAR(mean.to_vector()[i], 0.7 * m0[i] + 0.3 * m, 1e-6);
    EXPECT_NEAR(var.to_vector()[i], 0.7 * v0[i] + 0.3 * v, 1e-6);
  }
  const auto after = mean.to_vector();
  batch_norm(x, {{}, {}, mean, var}, {.training = false});
  EXPECT_EQ(mean.to_vector(), after) << "evaluation must not touch them";
}

TEST(OpValues, BatchNormSurvivesAMeanFarFromZero) {
  // A one-pass variance in f32 would lose every digit here.
  Tensor x = random_tensor({64, 2}, 1, -1, 1, DType::kF32);
  const Tensor shifted = x + 4096.0;
  const Tensor expected = batch_norm(shifted.to(DType::kF64), {});
  EXPECT_TRUE(all_close(batch_norm(shifted, {}), expected, {2e-5}));
}

TEST(OpValues, DropoutKeepsTheExpectedShareAndMovesOn) {
  Generator generator(kSeed, streams::kDropout);
  const Tensor x = ones({100, 100});
  const auto first = dropout(x, 0.25, generator).to_vector(), second = dropout(x, 0.25, generator).to_vector();
  EXPECT_NE(first, second);
  const auto kept = std::count_if(first.begin(), first.end(), [](double v) { return v != 0; });
  EXPECT_NEAR(static_cast<double>(kept), 7500, 5 * std::sqrt(10000 * 0.25 * 0.75));
  EXPECT_EQ(generator.position.item(), 5000);
  EXPECT_TRUE(same_bits(dropout(x, 0, generator), x));
}

TEST(OpErrors, NameTheOperationAndWhatCame) {
  const Tensor x = images({2, 5, 5, 3}), w = images({4, 3, 3, 3}), rows = images({2, 3});
  EXPECT_ERROR(conv2d(images({2, 5, 5, 2}), w), "[conv2d] expected 3 input channels, got x [2, 5, 5, 2]");
  EXPECT_ERROR(conv2d(rows, w), "[conv2d] expected x [N, H, W, C]");
  EXPECT_ERROR(conv2d(x, w.to(DType::kBf16)), "[conv2d] expected one dtype");
  EXPECT_ERROR(conv2d(x, w, rows), "[conv2d] expected bias [4]");
  EXPECT_ERROR(conv2d(x, w, {}, {.groups = 2}), "divisible by 2 groups");
  EXPECT_ERROR(conv2d(x, images({4, 7, 7, 3})), "window of 7");
  EXPECT_ERROR(conv2d(x, w, {}, {.stride = 0}), "[conv2d] expected kernel, stride");
  EXPECT_ERROR(max_pool2d(x, {.kernel = 2, .stride = 2, .padding = 2}), "[max_pool2d] expected padding");
  EXPECT_ERROR(avg_pool2d(x, {.kernel = 9, .stride = 1}), "[avg_pool2d] expected the padded image");
  EXPECT_ERROR(global_avg_pool2d(rows), "[global_avg_pool2d]");
  EXPECT_ERROR(matmul(rows, rows), "[matmul] expected");
  EXPECT_ERROR(matmul(images({2, 3, 4}), images({3, 4, 5})), "the same leading sizes, got [2, 3, 4] f32 and [3, 4, 5]");
  EXPECT_ERROR(group_norm(rows, 2), "[group_norm] expected channels divisible by groups, got 3 and 2");
  EXPECT_ERROR(layer_norm(rows, images({2})), "[layer_norm] expected weight and bias f32 [3], got f32 [2]");
  EXPECT_ERROR(linear(rows, images({4, 2})), "[linear] expected x [..., in]");
  EXPECT_ERROR(linear(rows, images({4, 3}), images({3})), "[linear] expected bias [4]");
  EXPECT_ERROR(add(rows, images({2, 2})), "[add] expected shapes that broadcast, got [2, 3] and [2, 2]");
  EXPECT_ERROR(mul(rows, rows.to(DType::kF64)), "[mul] expected one dtype");
  EXPECT_ERROR(exp(labels_of({1})), "[exp] expected a floating dtype, got i64");
  EXPECT_ERROR(sum(labels_of({1})), "[sum] expected a floating dtype");
  EXPECT_ERROR(softmax(images({})), "[softmax] expected");
  EXPECT_ERROR(argmax(labels_of({1})), "[argmax] expected");
  EXPECT_ERROR(var(images({3}), {0}, 3), "[var] expected more elements than the correction of 3, got [3]");
  EXPECT_ERROR(where(rows, rows, rows.to(DType::kF64)), "[where] expected one dtype");
  EXPECT_ERROR(gt(labels_of({1}), rows), "[gt] expected one dtype, got i64 and f32");
}

TEST(OpErrors, ShapesThatDoNotFit) {
  const Tensor x = images({2, 6});
  EXPECT_ERROR(x.reshape({5}), "[reshape] expected 12 elements");
  EXPECT_ERROR(x.reshape({-1, -1}), "[reshape] expected at most one size of -1");
  EXPECT_ERROR(x.reshape({-1, 5}), "[reshape] expected 12 elements");
  EXPECT_ERROR(x.reshape({-3, -4}), "[reshape]");
  EXPECT_ERROR(x.slice(1, 1), "[slice] expected 0 <= begin < end");
  EXPECT_ERROR(x.slice(0, 3), "[slice] expected");
  EXPECT_ERROR(concat({}, 0), "[concat] expected at least one tensor");
  EXPECT_ERROR(concat({x, images({2, 5})}, 0), "[concat] expected shapes equal but for dimension 0");
  EXPECT_ERROR(transpose(x, 0, 2), "out of range");
  EXPECT_ERROR(permute(x, {0}), "[permute] expected 2 dimensions");
  EXPECT_ERROR(permute(x, {1, -1}), "[permute] expected each dimension once, got -1 twice");
  EXPECT_ERROR(stack({x, images({2, 5})}), "[stack] expected one shape, got [2, 6] and [2, 5]");
  EXPECT_ERROR(stack({x}, 3), "[stack] expected a dimension in [-3, 3), got 3");
  EXPECT_ERROR(index_select(x, 0, labels_of({0, 2})), "[index_select] expected indices in [0, 2), got 2 at 1");
  EXPECT_ERROR(index_select(x, 0, images({2})), "[index_select] expected indices i64, got f32 [2]");
  EXPECT_ERROR(gather(x, 1, labels_of({0, 1})),
               "[gather] expected indices of the shape of x but for dimension 1, got [2]");
  Tensor table = images({2, 6});
  EXPECT_ERROR(index_copy_(table, 0, labels_of({0}), x), "[index_copy_] expected 1 slices like those of f32 [2, 6]");
  table.set_requires_grad();
  EXPECT_ERROR(index_copy_(table, 0, labels_of({0, 1}), x), "written in place has no gradient");
  EXPECT_ERROR(one_hot(labels_of({0, 5}), 5), "[one_hot] expected indices in [0, 5), got 5 at 1");
  EXPECT_ERROR(pad(x, {1}, {1, 1}), "[pad] expected 2 sizes");
  EXPECT_ERROR(pad(x, {-1, 0}, {1, 1}), "[pad] expected sizes of at least 0");
}

TEST(OpErrors, BatchNorm) {
  const Tensor x = images({4, 3}), c = images({3});
  EXPECT_ERROR(batch_norm(images({1, 3}), {}), "more than one value per channel in training, got x [1, 3]");
  EXPECT_ERROR(batch_norm(images({1, 1, 1, 3}), {}), "more than one value per channel");
  EXPECT_ERROR(batch_norm(x, {images({4}), c, c, c}), "[batch_norm] expected weight f32 [3]");
  EXPECT_ERROR(batch_norm(x, {c, c.to(DType::kBf16), c, c}), "[batch_norm] expected bias f32 [3], got bf16");
  EXPECT_ERROR(batch_norm(x, {c, c, {}, {}}, {.training = false}), "running statistics in evaluation");
  EXPECT_ERROR(batch_norm(x, {}, {.residual = images({3, 3})}), "[batch_norm] expected a residual like x");
}

TEST(OpErrors, Losses) {
  const Tensor z = images({2, 3}), t = images({3});
  EXPECT_ERROR(cross_entropy(z, labels_of({0, 3})), "expected labels in [0, 3), got 3 at row 1");
  EXPECT_ERROR(cross_entropy(z, labels_of({-1, 0})), "got -1 at row 0");
  EXPECT_ERROR(cross_entropy(z, labels_of({0})), "[cross_entropy] expected labels i64 [2]");
  EXPECT_ERROR(cross_entropy(z, images({2})), "expected labels i64 [2] or shares of the classes [2, 3], got f32 [2]");
  EXPECT_ERROR(cross_entropy(z, images({2, 4})),
               "expected labels i64 [2] or shares of the classes [2, 3], got f32 [2, 4]");
  EXPECT_ERROR(cross_entropy(z, z, {.phi = Phi::mae()}), "expected no margin and no phi with shares of the classes");
  EXPECT_ERROR(cross_entropy(z, z, {.margin = t}), "expected no margin and no phi");
  EXPECT_ERROR(cross_entropy(t, labels_of({0, 0, 0})), "[cross_entropy] expected floating logits [B, C]");
  EXPECT_ERROR(cross_entropy(z, labels_of({0, 0}), {.smoothing = 1}), "smoothing in [0, 1)");
  EXPECT_ERROR(cross_entropy(z, labels_of({0, 0}), {.class_weight = images({2})}), "class_weight f32 [3]");
  for (const double wrong : {-0.5, std::nan(""), std::numeric_limits<double>::infinity()})
    EXPECT_ERROR(cross_entropy(z, labels_of({0, 0}), {.class_weight = from_vector({3}, {1, wrong, 1})}),
                 "expected finite class weights of at least 0, got");
  EXPECT_ERROR(mse_loss(z, t), "[mse_loss] expected x and target of one shape");
  EXPECT_ERROR(binary_cross_entropy_with_logits(z, t), "[binary_cross_entropy_with_logits]");
  Generator generator(1, streams::kDropout);
  EXPECT_ERROR(dropout(z, 1, generator), "[dropout] expected a probability in [0, 1)");
}

}  // namespace
}  // namespace fulcrum::testing
