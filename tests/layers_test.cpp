// Initial values, and the rules of each layer.
#include <fulcrum/layers/classifier.h>
#include <fulcrum/layers/resnet.h>

#include "testing.h"

namespace fulcrum {
namespace {

using testing::all_close;
using testing::gradients_match;
using testing::random_tensor;
using testing::same_bits;

Tensor images(int64_t n, int64_t size, int64_t channels, DType dtype = DType::kF32) {
  return random_tensor({n, size, size, channels}, 77, -2, 2, dtype);
}

struct Moments {
  double mean, stddev, largest;
};
Moments moments(const Tensor& t) {
  const auto v = t.to_vector();
  double sum = 0, squares = 0, largest = 0;
  for (double x : v) {
    sum += x;
    squares += x * x;
    largest = std::max(largest, std::abs(x));
  }
  const auto n = static_cast<double>(v.size());
  return {sum / n, std::sqrt(squares / n - sum * sum / n / n), largest};
}

Tensor find(const std::vector<NamedTensor>& all, const std::string& name) {
  for (const NamedTensor& t : all)
    if (t.name == name) return t.tensor;
  ADD_FAILURE() << "no tensor named " << name;
  return {};
}

// ---- initial values ----

TEST(Initial, ResnetsStartAsTheReferencesDo) {
  const Resnet net = resnet32({.classes = 100, .seed = 7});
  const auto p = net.named_parameters();
  const auto expect_normal = [&](const char* name, double fan_in) {
    const Moments m = moments(find(p, name));
    const auto n = static_cast<double>(find(p, name).numel());
    const double expected = std::sqrt(2 / fan_in);
    EXPECT_NEAR(m.mean, 0, 4 * expected / std::sqrt(n)) << name;
    EXPECT_NEAR(m.stddev, expected, 4 * expected / std::sqrt(2 * n)) << name;
  };
  expect_normal("conv1.weight", 27);
  expect_normal("layer3.1.conv2.weight", 576);
  expect_normal("fc.weight", 64);
  EXPECT_LE(moments(find(p, "fc.bias")).largest, 0.125);
  EXPECT_NEAR(moments(find(p, "fc.bias")).stddev, 0.125 / std::sqrt(3.0), 0.015);
  EXPECT_EQ(find(p, "bn1.weight").to_vector(), std::vector<double>(16, 1));
  EXPECT_EQ(find(p, "bn1.bias").to_vector(), std::vector<double>(16, 0));
}

TEST(Initial, IsDrawnFromTheParametersOwnStreamInOihwOrder) {
  const Resnet net = resnet8({.seed = 11});
  const auto parameters = net.named_parameters();
  const TensorMap dict = net.state_dict();
  for (size_t i = 0; i < parameters.size(); i++) {
    if (parameters[i].tensor.dim() < 2) continue;
    const Tensor on_disk = dict.at(parameters[i].name);
    Tensor expected = empty(on_disk.shape());
    const double fan_in = static_cast<double>(on_disk.numel() / on_disk.size(0));
    fill_normal(expected, 0, std::sqrt(2 / fan_in), 11, streams::kInit + i);
    EXPECT_TRUE(same_bits(on_disk, expected)) << parameters[i].name;
  }
  EXPECT_FALSE(same_bits(resnet8({.seed = 12}).state_dict().at("conv1.weight"), dict.at("conv1.weight")));
}

TEST(Initial, RulesHaveTheirSpread) {
  const double out = 40, in = 30;
  const auto spread = [](const Init& init) {
    NamedTensor weight{"w", zeros({40, 3, 3, 30}), true};
    fill(weight, init, 1, 2);
    return moments(weight.tensor);
  };
  const double gain = std::sqrt(2.0);
  const auto near = [](double got, double expected) { EXPECT_NEAR(got, expected, 0.02 * expected); };
  near(spread(Init::kaiming_normal()).stddev, gain / std::sqrt(9 * in));
  near(spread(Init::kaiming_normal(1, Init::Fan::kOut)).stddev, 1 / std::sqrt(9 * out));
  near(spread(Init::kaiming_uniform()).stddev, gain / std::sqrt(9 * in));
  near(spread(Init::kaiming_uniform()).largest, gain * std::sqrt(3 / (9 * in)));
  near(spread(Init::xavier_normal()).stddev, std::sqrt(2 / (9 * (in + out))));
  near(spread(Init::xavier_uniform()).largest, std::sqrt(6 / (9 * (in + out))));
  near(spread(Init::pytorch()).largest, 1 / std::sqrt(9 * in));
  near(spread(Init::normal(5, 0.1)).mean, 5);
  near(spread(Init::uniform(2, 4)).mean, 3);
  EXPECT_EQ(spread(Init::constant(3)).stddev, 0);
  EXPECT_ERROR(fill({"bias", zeros({4})}, Init::kaiming_normal(), 0, 0), "a matrix or a convolution");
}

TEST(Initial, LayersOfOneModelDiffer) {
  Sequential net(5);
  auto& a = net.append<Linear>(LinearOptions{.in = 4, .out = 4});
  auto& inner = net.append<Sequential>();
  auto& b = inner.append<Linear>(LinearOptions{.in = 4, .out = 4});
  auto& c = net.append<Linear>(LinearOptions{.in = 4, .out = 4});
  auto& d = inner.append<Linear>(LinearOptions{.in = 4, .out = 4});
  const Linear* all[] = {&a, &b, &c, &d};
  for (const Linear* x : all)
    for (const Linear* y : all) EXPECT_EQ(same_bits(x->weight.detach(), y->weight.detach()), x == y);
  EXPECT_EQ(d.full_name(), "1.1");
  EXPECT_EQ(net(ones({2, 4})).shape(), (Shape{2, 4}));
}

// ---- layers ----

TEST(Shortcut, GathersAndPads) {
  const Tensor x = random_tensor({2, 5, 4, 2}, 3);
  const Tensor y = pad_shortcut(x, 2, 6);
  ASSERT_EQ(y.shape(), (Shape{2, 3, 2, 6}));
  const auto in = x.to_vector(), out = y.to_vector();
  for (size_t n = 0; n < 2; n++)
    for (size_t h = 0; h < 3; h++)
      for (size_t w = 0; w < 2; w++)
        for (size_t c = 0; c < 6; c++) {
          const double expected = c < 2 || c >= 4 ? 0 : in[((n * 5 + 2 * h) * 4 + 2 * w) * 2 + c - 2];
          EXPECT_EQ(out[((n * 3 + h) * 2 + w) * 6 + c], expected);
        }
  EXPECT_ERROR(pad_shortcut(x, 2, 5), "even number");
  EXPECT_ERROR(pad_shortcut(x, 0, 4), "stride");
}

TEST(Shortcut, GradientMatchesDifferences) {
  for (int64_t size : {1, 4, 5})
    EXPECT_TRUE(gradients_match([](const auto& in) { return pad_shortcut(in[0], 2, 6); },
                                {random_tensor({2, size, size, 2}, 4)}));
}

TEST(BasicBlock, FusedEqualsThePlainComposition) {
  BasicBlock block({.in = 4, .out = 8, .stride = 2});
  block.to(Device(), DType::kF64);
  const auto& parts = block.children();
  const auto plain = [&](const Tensor& x) {
    const Tensor y = relu((*parts[1])((*parts[0])(x)));
    return relu((*parts[3])((*parts[2])(y)) + pad_shortcut(x, 2, 8));
  };
  Tensor x = random_tensor({3, 6, 6, 4}, 8).set_requires_grad();
  const Tensor fused = block(x);
  EXPECT_TRUE(all_close(fused, plain(x), {.relative = 1e-12}));
  sum(square(fused)).backward();
  const auto dx = x.grad().clone(), dw = parts[0]->parameters()[0].grad().clone();
  block.zero_grad();
  x.set_grad({});
  sum(square(plain(x))).backward();
  EXPECT_TRUE(all_close(x.grad(), dx, {.relative = 1e-10}));
  EXPECT_TRUE(all_close(parts[0]->parameters()[0].grad(), dw, {.relative = 1e-10}));
}

TEST(Layers, LayerNormAndGroupNormAreTheOps) {
  const Tensor x = images(3, 4, 6);
  LayerNorm layer({.channels = 6});
  GroupNorm groups({.groups = 2, .channels = 6});
  for (Module* norm : {static_cast<Module*>(&layer), static_cast<Module*>(&groups)}) {
    fill(norm->named_parameters()[0], Init::uniform(0.5, 1.5), 1, 2);
    fill(norm->named_parameters()[1], Init::uniform(-1, 1), 1, 3);
  }
  EXPECT_TRUE(same_bits(layer(x), layer_norm(x, layer.weight, layer.bias)));
  EXPECT_TRUE(same_bits(groups(x), group_norm(x, 2, groups.weight, groups.bias)));
  EXPECT_TRUE(LayerNorm({.channels = 6, .affine = false}).parameters().empty());
  EXPECT_ERROR(GroupNorm({.groups = 4, .channels = 6}),
               "[GroupNorm] expected channels divisible by groups, got 6 and 4");
}

// A parameter that begins with given numbers is like any other: moved, with a twin, saved.
struct Scale : Classifier {
  Tensor scale = add_parameter("scale", from_vector({2}, {2.0, 3.0}));
  Scale() { add_head("fc", {.in = 2, .out = 3}, {.dropout = 0.5}); }
  Tensor features(const Tensor& x) override { return x * scale.as(x.dtype()); }
};

TEST(Layers, AClassifierOfAParameterOfItsOwn) {
  Scale net;
  net.to(Device(), DType::kBf16);
  net.eval();
  const Tensor x = ones({1, 2}, {DType::kBf16, {}});
  EXPECT_EQ(net.features(x).to_vector(), (std::vector<double>{2, 3}));
  EXPECT_EQ(net.parameters().size(), 3u);
  EXPECT_EQ(net.children().back()->name(), "fc");
  TensorMap state = net.state_dict();
  EXPECT_EQ(state.at("scale").to_vector(), (std::vector<double>{2, 3}));
  state["scale"] = from_vector({2}, {5.0, 7.0});
  net.load_state_dict(state);
  EXPECT_EQ(net.features(x).to_vector(), (std::vector<double>{5, 7}));
  struct Headless : Classifier {
    Tensor features(const Tensor& t) override { return t; }
  };
  EXPECT_ERROR(Headless()(x), "[Classifier] expected add_head in the constructor");
  struct Wide : Module {
    Wide() { add_parameter("w", zeros({2}, {DType::kF64, {}})); }
    Tensor forward(const Tensor& t) override { return t; }
  };
  EXPECT_ERROR(Wide(), "[module] expected the parameter 'w' in f32 on the CPU, got f64 on cpu");
}

TEST(BatchNormLayer, OfAReplayedStepCountsWhereItTrains) {
  Resnet net = resnet8({.classes = 3});
  Module& frozen = *net.children()[2];
  frozen.freeze();
  net.train();
  count_training_batch(net);
  for (const NamedTensor& b : net.named_buffers()) {
    if (!b.name.ends_with("num_batches_tracked")) continue;
    EXPECT_EQ(b.tensor.item(), b.name.starts_with(frozen.name()) ? 0 : 1) << b.name;
  }
}

TEST(BatchNormLayer, TrainsOnBatchAndEvaluatesOnRunningStatistics) {
  BatchNorm bn({.channels = 3, .momentum = 0.25});
  const Tensor x = random_tensor({50, 3}, 6, 1, 3, DType::kF32);
  const Moments y = moments(bn(x));
  EXPECT_NEAR(y.mean, 0, 1e-5);
  EXPECT_NEAR(y.stddev, 1, 1e-3);
  EXPECT_NEAR(moments(bn.running_mean).mean, 0.25 * moments(x).mean, 1e-4);
  EXPECT_EQ(bn.num_batches_tracked.item(), 1);
  bn.eval();
  const Tensor before = bn.running_mean.clone();
  const Tensor expected = x - bn.running_mean;
  EXPECT_TRUE(all_close(bn(x), expected / sqrt(bn.running_var + 1e-5), {.relative = 1e-5}));
  EXPECT_TRUE(same_bits(before, bn.running_mean));
  EXPECT_EQ(bn.num_batches_tracked.item(), 1);
  EXPECT_EQ(bn(ones({1, 3})).shape(), (Shape{1, 3}));
  bn.train();
  EXPECT_ERROR(bn(ones({1, 3})), "more than one value per channel");
  EXPECT_EQ(bn.num_batches_tracked.item(), 1);
  EXPECT_TRUE(BatchNorm({.channels = 3, .affine = false}).parameters().empty());
}

TEST(NormedLinear, IsTheCosineWithUnitRows) {
  NormedLinear head({.in = 5, .out = 3});
  const Tensor lengths = sum(square(head.weight), {1});
  EXPECT_TRUE(all_close(lengths, ones({3}), {.relative = 1e-6}));
  head.to(Device(), DType::kF64);
  Tensor x = random_tensor({4, 5}, 9);
  const Tensor y = head(x);
  const auto xs = x.to_vector(), ws = head.weight.to_vector(), ys = y.to_vector();
  for (size_t b = 0; b < 4; b++)
    for (size_t o = 0; o < 3; o++) {
      double dot = 0, xx = 0, ww = 0;
      for (size_t i = 0; i < 5; i++) {
        dot += xs[b * 5 + i] * ws[o * 5 + i];
        xx += xs[b * 5 + i] * xs[b * 5 + i];
        ww += ws[o * 5 + i] * ws[o * 5 + i];
      }
      EXPECT_NEAR(ys[b * 3 + o], dot / std::sqrt(xx * ww), 1e-12);
    }
  EXPECT_TRUE(gradients_match([&](const auto& in) { return head(in[0]); }, {x}));

  Tensor zero = zeros({1, 5}, {DType::kF64, {}}).set_requires_grad();
  const Tensor at_zero = head(zero);
  EXPECT_EQ(moments(at_zero).largest, 0);
  sum(at_zero).backward();
  EXPECT_TRUE(std::isfinite(moments(zero.grad()).largest)) << "a dead feature vector is no NaN";
}

TEST(NormedLinear, AnswersInF32ToABf16Batch) {
  Resnet net = resnet8({.normed_head = true});
  EXPECT_EQ(net.named_parameters().back().name, "fc.weight");
  net.to(Device(), DType::kBf16);
  const Tensor y = net(images(2, 8, 3, DType::kBf16));
  EXPECT_EQ(y.dtype(), DType::kF32);
  EXPECT_LE(moments(y).largest, 1.0001);
  sum(y).backward();
  EXPECT_EQ(net.named_parameters()[0].tensor.grad().dtype(), DType::kF32);
}

TEST(DropoutLayer, IsDeterministicResumableAndOffInEvaluation) {
  const Tensor x = ones({1000});
  Dropout a({.p = 0.25, .seed = 3}), b({.p = 0.25, .seed = 3}), c({.p = 0.25, .seed = 4});
  const Tensor y = a(x);
  EXPECT_TRUE(same_bits(y, b(x)));
  EXPECT_FALSE(same_bits(y, c(x)));
  EXPECT_NEAR(moments(y).mean, 1, 0.1);
  double zeros_seen = 0;
  for (double v : y.to_vector()) zeros_seen += v == 0;
  EXPECT_NEAR(zeros_seen, 250, 60);

  const auto generators = a.named_generators();
  ASSERT_EQ(generators.size(), 1u);
  EXPECT_EQ(generators[0].first, "generator");
  Tensor position = generators[0].second->position;
  const Tensor saved = position.clone();
  const Tensor next = a(x);
  EXPECT_FALSE(same_bits(next, y)) << "the generator advances";
  position.copy_from(saved);
  EXPECT_TRUE(same_bits(a(x), next));

  EXPECT_TRUE(a.state_dict().empty());
  a.eval();
  EXPECT_TRUE(same_bits(a(x), x));
  EXPECT_ERROR(Dropout({.p = 1}), "[0, 1)");
}

TEST(DropoutLayer, LayersOfOneModelDrawFromDifferentStreams) {
  Sequential net(5);
  auto& a = net.append<Dropout>(DropoutOptions{});
  auto& b = net.append<Dropout>(DropoutOptions{});
  EXPECT_FALSE(same_bits(a(ones({64})), b(ones({64}))));
  EXPECT_EQ(net.named_generators()[1].first, "1.generator");
  EXPECT_EQ(net.named_generators()[0].second->stream, streams::kDropout);
}

TEST(Layers, PoolingReluAndFlattenAreTheOps) {
  const Tensor x = random_tensor({2, 4, 4, 3}, 12);
  const PoolOptions pool{.kernel = 2, .stride = 2};
  EXPECT_TRUE(same_bits(MaxPool2d(pool)(x), max_pool2d(x, pool)));
  EXPECT_TRUE(same_bits(AvgPool2d(pool)(x), avg_pool2d(x, pool)));
  EXPECT_TRUE(same_bits(GlobalAvgPool2d()(x), global_avg_pool2d(x)));
  EXPECT_TRUE(same_bits(ReLU()(x), relu(x)));
  EXPECT_TRUE(same_bits(GELU()(x), gelu(x)));
  EXPECT_TRUE(same_bits(GELU({.approximate = GeluApproximation::kTanh})(x), gelu(x, GeluApproximation::kTanh)));
  const Tensor flat = Flatten()(x);
  ASSERT_EQ(flat.shape(), (Shape{2, 48}));
  const auto in = x.to_vector(), out = flat.to_vector();
  for (size_t c = 0; c < 3; c++)  // PyTorch's order: C, H, W
    for (size_t p = 0; p < 16; p++) EXPECT_EQ(out[c * 16 + p], in[p * 3 + c]);
  EXPECT_EQ(Flatten()(ones({2, 1, 1, 5})).shape(), (Shape{2, 5}));
}

TEST(Layers, EmbeddingIsTheOp) {
  Embedding layer({.num = 5, .dim = 3});
  const Tensor rows = from_vector({2, 2}, std::vector<int64_t>{4, 0, 4, 1});
  EXPECT_TRUE(same_bits(layer(rows), index_select(layer.weight, 0, rows.reshape({4})).reshape({2, 2, 3})));
  sum(layer(rows)).backward();
  EXPECT_EQ(layer.weight.grad().to_vector(), (std::vector<double>{1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 2, 2, 2}));
  layer.to(Device(), DType::kBf16);
  EXPECT_EQ(layer(rows).dtype(), DType::kBf16);
  EXPECT_EQ(layer(rows).to_vector(), layer(rows).to_vector());
  EXPECT_ERROR(layer(ones({2})), "[Embedding] expected rows i64, got f32 [2]");
}

TEST(Layers, RefuseWhatTheyCannotTake) {
  Conv2d conv({.in = 3, .out = 4, .kernel = 3});
  EXPECT_ERROR(conv(zeros({1, 8, 8, 3}, {DType::kU8, {}})), "[Conv2d] expected a floating batch, got u8");
  EXPECT_ERROR(conv(ones({1, 8, 8, 4})), "expected 3 input channels");
  EXPECT_ERROR(Conv2d({.in = 3, .out = 4, .kernel = 3, .groups = 2}), "divisible by the groups");
  EXPECT_ERROR(Linear({.in = 3, .out = 4})(ones({1, 2})), "[linear]");
  EXPECT_ERROR(Flatten()(ones({3})), "[Flatten]");
}

}  // namespace
}  // namespace fulcrum
