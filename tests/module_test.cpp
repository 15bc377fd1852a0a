// Modules: names, state dicts, arenas, twins, observation.
#include <numeric>

#include <fulcrum/core/arena.h>
#include <fulcrum/layers/models.h>
#include <fulcrum/layers/resnet.h>

#include "testing.h"

namespace fulcrum {
namespace {

using testing::labels_of;
using testing::random_tensor;
using testing::same_bits;
using testing::TempDir;

Tensor images(int64_t n, int64_t size, int64_t channels, DType dtype = DType::kF32) {
  return random_tensor({n, size, size, channels}, 77, -2, 2, dtype);
}

Tensor mean_loss(Module& net, const Tensor& x) {
  std::vector<int64_t> labels(static_cast<size_t>(x.size(0)));
  std::iota(labels.begin(), labels.end(), 0);
  return mean(cross_entropy(net(x), labels_of(labels)));
}

double largest(const Tensor& t) {
  double m = 0;
  for (double x : t.to_vector()) m = std::max(m, std::abs(x));
  return m;
}

Tensor find(const std::vector<NamedTensor>& all, const std::string& name) {
  for (const NamedTensor& t : all)
    if (t.name == name) return t.tensor;
  ADD_FAILURE() << "no tensor named " << name;
  return {};
}

// ---- the tree ----

// add<T> takes what T's constructor takes; anything else is an error of the line that calls it.
struct Open : Module {
  using Module::add;
  Tensor forward(const Tensor& x) override { return x; }
};
template <class T, class... Args>
concept Addable = requires(Open& net, Args... args) {
  net.add<T>("name", args...);
};
static_assert(Addable<Linear, LinearOptions> && Addable<ReLU>);
static_assert(!Addable<Linear> && !Addable<Linear, int, int> && !Addable<ReLU, LinearOptions>);

TEST(Module, Resnet32HasTorchvisionsNamesAndShapes) {
  const Resnet net = resnet32({.classes = 10});
  EXPECT_EQ(net.num_parameters(), 464'154);
  const auto parameters = net.named_parameters();
  ASSERT_EQ(parameters.size(), 31u * 3 + 2);
  std::vector<std::string> names;
  for (const NamedTensor& p : parameters) names.push_back(p.name);
  const std::vector<std::string> first = {"conv1.weight",          "bn1.weight",          "bn1.bias",
                                          "layer1.0.conv1.weight", "layer1.0.bn1.weight", "layer1.0.bn1.bias",
                                          "layer1.0.conv2.weight"};
  EXPECT_EQ(std::vector<std::string>(names.begin(), names.begin() + 7), first);
  EXPECT_EQ(names[names.size() - 3], "layer3.4.bn2.bias");
  EXPECT_EQ(names[names.size() - 2], "fc.weight");
  EXPECT_EQ(names.back(), "fc.bias");
  EXPECT_EQ(net.named_buffers().size(), 31u * 3);
  EXPECT_EQ(net.named_buffers()[1].name, "bn1.running_var");

  const TensorMap dict = net.state_dict();
  EXPECT_EQ(dict.size(), 31u * 6 + 2);
  EXPECT_EQ(dict.at("conv1.weight").shape(), (Shape{16, 3, 3, 3}));
  EXPECT_EQ(dict.at("layer2.0.conv1.weight").shape(), (Shape{32, 16, 3, 3}));
  EXPECT_EQ(dict.at("layer3.4.bn2.running_var").shape(), Shape{64});
  EXPECT_EQ(dict.at("bn1.num_batches_tracked").shape(), Shape{});
  EXPECT_EQ(dict.at("fc.weight").shape(), (Shape{10, 64}));
}

TEST(Module, ResnetsHaveTheirSizes) {
  EXPECT_EQ(resnet8().num_parameters(), 75'290);
  EXPECT_EQ(resnet20().num_parameters(), 269'722);
  EXPECT_EQ(resnet44().num_parameters(), 658'586);
  EXPECT_EQ(resnet56().num_parameters(), 853'018);
  EXPECT_EQ(resnet110().num_parameters(), 1'727'962);
  EXPECT_ERROR(Resnet(33, {}), "6n + 2");
  EXPECT_ERROR(resnet8({.classes = 0}), "classes and channels");
  EXPECT_ERROR(resnet8({.dropout = 1}), "probability");
}

TEST(Module, ChildrenKnowWhereTheyAre) {
  Resnet net = resnet8();
  EXPECT_EQ(net.full_name(), "");
  const Module& layer2 = *net.children()[3];
  EXPECT_EQ(layer2.full_name(), "layer2");
  EXPECT_EQ(layer2.children()[0]->children()[3]->full_name(), "layer2.0.bn2");
  EXPECT_EQ(layer2.named_parameters()[0].name, "0.conv1.weight");
}

struct Twice : Module {
  explicit Twice(const std::string& second) {
    add<Linear>("fc", LinearOptions{.in = 2, .out = 2});
    add<Linear>(second, LinearOptions{.in = 2, .out = 2});
  }
  Tensor forward(const Tensor& x) override { return x; }
};

TEST(Module, NamesAreNewAndHaveNoDots) {
  EXPECT_NO_THROW(Twice("fc2"));
  for (const char* name : {"fc", "", "a.b"}) EXPECT_ERROR(Twice{name}, "expected a new name");
}

TEST(Module, TrainAndEvalReachEveryChild) {
  Resnet net = resnet8();
  const Module& inner = *net.children()[4]->children()[0]->children()[1];
  EXPECT_TRUE(inner.training());
  net.eval();
  EXPECT_FALSE(inner.training());
  net.train();
  EXPECT_TRUE(inner.training());
}

// ---- state ----

TEST(StateDict, RoundTripThroughAFileIsExact) {
  const TempDir dir;
  Resnet a = resnet8({.seed = 1}), b = resnet8({.seed = 2});
  mean_loss(a, images(4, 12, 3));  // moves the running statistics
  save_tensors(dir / "a.safetensors", {a.state_dict(), {}});
  b.load_state_dict(load_tensors(dir / "a.safetensors").tensors);
  a.eval();
  b.eval();
  EXPECT_TRUE(same_bits(a(images(2, 12, 3)), b(images(2, 12, 3))));
  EXPECT_EQ(find(b.named_buffers(), "layer1.0.bn2.num_batches_tracked").item(), 1);
}

TEST(StateDict, ConvolutionsAreOihwOnDisk) {
  Conv2d conv({.in = 2, .out = 3, .kernel = {2, 4}, .bias = false});
  const Tensor disk = conv.state_dict().at("weight");
  ASSERT_EQ(disk.shape(), (Shape{3, 2, 2, 4}));
  const auto memory = conv.weight.to_vector(), oihw = disk.to_vector();
  for (size_t o = 0; o < 3; o++)
    for (size_t i = 0; i < 2; i++)
      for (size_t h = 0; h < 2; h++)
        for (size_t w = 0; w < 4; w++)
          EXPECT_EQ(oihw[((o * 2 + i) * 2 + h) * 4 + w], memory[((o * 2 + h) * 4 + w) * 2 + i]);
  EXPECT_TRUE(same_bits(from_oihw(to_oihw(conv.weight)), conv.weight.detach()));
  EXPECT_ERROR(to_oihw(ones({2, 2})), "[out, kh, kw, in]");
  EXPECT_ERROR(from_oihw(ones({2, 2})), "[out, in, kh, kw]");
}

TEST(StateDict, IsASnapshot) {
  Linear fc({.in = 2, .out = 2});
  const TensorMap before = fc.state_dict();
  const auto values = before.at("weight").to_vector();
  fill({"weight", fc.weight}, Init::constant(3), 0, 0);
  EXPECT_EQ(before.at("weight").to_vector(), values);
}

TEST(StateDict, AMisfitListsEverythingAndChangesNothing) {
  Resnet net = resnet8();
  const TensorMap good = net.state_dict();
  TensorMap bad = good;
  bad.erase("layer2.0.conv1.weight");
  bad.erase("fc.bias");
  bad["head.weight"] = ones({1});
  bad["optim.x"] = ones({1});
  bad["fc.weight"] = ones({100, 64});
  bad["conv1.weight"] = ones({16, 3, 3, 4});
  bad["bn1.bias"] = zeros({16}, {DType::kI64, {}});
  bad["bn1.weight"] = full({16}, 9);
  const char* parts[] = {"missing (2):",
                         "layer2.0.conv1.weight",
                         "fc.bias",
                         "unexpected (2):",
                         "head.weight",
                         "optim.x",
                         "wrong shape or dtype (3):",
                         "fc.weight: expected floating [10, 64], got f32 [100, 64]",
                         "conv1.weight: expected floating [16, 3, 3, 3], got f32 [16, 3, 3, 4]",
                         "bn1.bias: expected floating [16], got i64 [16]"};
  for (const char* part : parts) EXPECT_ERROR(net.load_state_dict(bad), part);
  EXPECT_ERROR(net.load_state_dict(bad, /*strict=*/false), "wrong shape or dtype (3)");
  for (const auto& [name, tensor] : net.state_dict()) EXPECT_TRUE(same_bits(tensor, good.at(name))) << name;

  for (const char* name : {"fc.weight", "conv1.weight", "bn1.bias"}) bad[name] = good.at(name);
  EXPECT_ERROR(net.load_state_dict(bad), "missing (2)");
  const LoadReport report = net.load_state_dict(bad, /*strict=*/false);
  EXPECT_EQ(report.missing, (std::vector<std::string>{"layer2.0.conv1.weight", "fc.bias"}));
  EXPECT_EQ(report.unexpected, (std::vector<std::string>{"head.weight", "optim.x"}));
  EXPECT_EQ(net.state_dict().at("bn1.weight").to_vector()[0], 9);
}

TEST(StateDict, CountersAreOptionalAndDtypesConvert) {
  Resnet net = resnet8({.seed = 3}), other = resnet8({.seed = 4});
  TensorMap dict;
  for (const auto& [name, tensor] : net.state_dict())
    if (is_floating(tensor.dtype())) dict[name] = tensor.to(DType::kF64);
  other.load_state_dict(dict);
  for (const auto& [name, tensor] : other.state_dict())
    EXPECT_TRUE(same_bits(tensor, net.state_dict().at(name))) << name;
}

// ---- arenas and dtypes ----

TEST(Arenas, ParametersAndGradientsAreViewsOnBoundaries) {
  Resnet net = resnet8();
  const TensorMap before = net.state_dict();
  net.to(Device("cpu"));
  for (const auto& [name, tensor] : net.state_dict()) EXPECT_TRUE(same_bits(tensor, before.at(name))) << name;
  const auto parameters = net.named_parameters();
  const Tensor first = parameters[0].tensor;
  size_t end = 0;
  for (const NamedTensor& p : parameters) {
    EXPECT_EQ(p.tensor.storage(), first.storage()) << p.name;
    EXPECT_EQ(p.tensor.offset() % 256, 0u) << p.name;
    EXPECT_GE(p.tensor.offset(), end) << p.name;
    EXPECT_LT(p.tensor.offset(), end + 512) << p.name << ": contiguous but for padding";
    end = p.tensor.offset() + p.tensor.bytes();
    EXPECT_EQ(p.tensor.grad().storage(), first.grad().storage()) << p.name;
    EXPECT_EQ(p.tensor.grad().offset(), p.tensor.offset()) << p.name;
  }
  EXPECT_TRUE(Arena::holding(net.parameters()).has_value());

  const void* address = first.grad().raw();
  mean_loss(net, images(4, 12, 3)).backward();
  EXPECT_EQ(first.grad().raw(), address) << "gradients accumulate in place";
  EXPECT_GT(largest(first.grad()), 0);
  net.zero_grad();
  for (const NamedTensor& p : parameters) EXPECT_EQ(largest(p.tensor.grad()), 0) << p.name;
}

TEST(Arenas, ZeroGradOfAPartLeavesTheRest) {
  Resnet net = resnet8();
  net.to(Device());
  mean_loss(net, images(4, 12, 3)).backward();
  net.children()[3]->zero_grad();
  EXPECT_EQ(largest(find(net.named_parameters(), "layer2.0.conv1.weight").grad()), 0);
  EXPECT_GT(largest(find(net.named_parameters(), "conv1.weight").grad()), 0);
  EXPECT_GT(largest(find(net.named_parameters(), "fc.weight").grad()), 0);
}

TEST(Arenas, GradientsAreTheSameWithAndWithout) {
  Resnet a = resnet8({.seed = 5}), b = resnet8({.seed = 5});
  b.to(Device());
  mean_loss(a, images(4, 12, 3)).backward();
  mean_loss(b, images(4, 12, 3)).backward();
  for (size_t i = 0; i < a.parameters().size(); i++)
    EXPECT_TRUE(same_bits(a.parameters()[i].grad(), b.parameters()[i].grad())) << a.named_parameters()[i].name;
  a.zero_grad();
  EXPECT_EQ(largest(a.parameters()[0].grad()), 0);
}

TEST(Arenas, Bf16TwinsFollowTheMasters) {
  Conv2d conv({.in = 3, .out = 4, .kernel = 3});
  conv.to(Device(), DType::kBf16);
  EXPECT_EQ(conv.weight.dtype(), DType::kF32);
  const auto twin_is_current = [&] {
    return same_bits(conv.weight.as(DType::kBf16).detach(), conv.weight.detach().to(DType::kBf16));
  };
  EXPECT_TRUE(twin_is_current());
  const void* twin = conv.weight.as(DType::kBf16).raw();
  EXPECT_EQ(conv.weight.as(DType::kBf16).raw(), twin) << "nothing is cast in the step";

  const Tensor y = conv(images(2, 5, 3, DType::kBf16));
  EXPECT_EQ(y.dtype(), DType::kBf16);
  sum(y.to(DType::kF32)).backward();
  EXPECT_EQ(conv.weight.grad().dtype(), DType::kF32);
  EXPECT_EQ(conv.bias.grad().dtype(), DType::kF32);
  EXPECT_GT(largest(conv.weight.grad()), 0);

  TensorMap dict = conv.state_dict();
  EXPECT_EQ(dict.at("weight").dtype(), DType::kF32) << "the master is saved";
  dict["weight"] = random_tensor({4, 3, 3, 3}, 5, -1, 1, DType::kF32);
  conv.load_state_dict(dict);
  EXPECT_TRUE(twin_is_current());
  fill(conv.named_parameters()[0], Init::normal(0, 1), 9, 9);
  EXPECT_TRUE(twin_is_current());
  EXPECT_EQ(conv.weight.as(DType::kBf16).raw(), twin);
  conv.to(Device(), DType::kF32);
  EXPECT_FALSE(conv.weight.node()->twin.defined()) << "of the earlier dtype";
  EXPECT_ERROR(conv.to(Device(), DType::kI32), "f32, bf16 or f64");
}

TEST(Arenas, F64HasF64MastersBuffersAndGradients) {
  Resnet net = resnet8();
  net.to(Device(), DType::kF64);
  EXPECT_EQ(find(net.named_parameters(), "fc.weight").dtype(), DType::kF64);
  EXPECT_EQ(find(net.named_buffers(), "bn1.running_mean").dtype(), DType::kF64);
  EXPECT_EQ(find(net.named_buffers(), "bn1.num_batches_tracked").dtype(), DType::kI64);
  mean_loss(net, images(3, 8, 3, DType::kF64)).backward();
  EXPECT_EQ(find(net.named_parameters(), "fc.weight").grad().dtype(), DType::kF64);
  EXPECT_EQ(find(net.named_buffers(), "bn1.num_batches_tracked").item(), 1);
}

// ---- observation ----

TEST(Observer, SeesEveryLayerInOrderUntilItEnds) {
  Resnet net = resnet8({.dropout = 0.1});
  std::vector<std::string> names;
  {
    const ForwardObserver observer([&](const std::string& name, const Tensor& y) {
      EXPECT_TRUE(y.defined());
      names.push_back(name);
    });
    net(images(2, 8, 3));
  }
  const std::vector<std::string> first = {"conv1",          "bn1",          "layer1.0.conv1", "layer1.0.bn1",
                                          "layer1.0.conv2", "layer1.0.bn2", "layer1.0",       "layer1"};
  ASSERT_GT(names.size(), 8u);
  EXPECT_EQ(std::vector<std::string>(names.begin(), names.begin() + 8), first);
  EXPECT_EQ(std::vector<std::string>(names.end() - 3, names.end()), (std::vector<std::string>{"dropout", "fc", ""}));
  const size_t seen = names.size();
  net(images(2, 8, 3));
  EXPECT_EQ(names.size(), seen);
}

TEST(Observer, ThoseAroundItSeeTheLayersToo) {
  Resnet net = resnet8();
  size_t outer = 0, inner = 0;
  const ForwardObserver around([&](const std::string&, const Tensor&) { outer++; });
  {
    const ForwardObserver within([&](const std::string&, const Tensor&) { inner++; });
    net(images(2, 8, 3));
  }
  EXPECT_GT(inner, 0u);
  EXPECT_EQ(outer, inner);
}

class Throwing : public Module {
 public:
  Tensor forward(const Tensor&) override { fail("[throwing]"); }
};

TEST(EvalMode, EndsWithTheScopeWhateverHappens) {
  Throwing net;
  const auto evaluate = [&] {
    const EvalMode eval_mode(net);
    EXPECT_FALSE(net.training());
    net(images(1, 8, 3));
  };
  EXPECT_ERROR(evaluate(), "[throwing]");
  EXPECT_TRUE(net.training());
  net.eval();
  EXPECT_ERROR(evaluate(), "[throwing]");
  EXPECT_FALSE(net.training());
}

TEST(EvalMode, GivesEachModuleItsOwnModeBack) {
  struct Net : Module {
    BatchNorm& bn = add<BatchNorm>("bn", BatchNormLayerOptions{.channels = 3});
    Linear& fc = add<Linear>("fc", LinearOptions{.in = 3, .out = 2});
    Tensor forward(const Tensor& x) override { return fc(bn(x)); }
  } net;
  net.bn.eval();
  {
    const EvalMode eval_mode(net);
    net.train();
  }
  EXPECT_FALSE(net.bn.training());
  EXPECT_TRUE(net.fc.training());
  EXPECT_TRUE(net.training());
  net.fc.freeze();
  net.train();
  EXPECT_FALSE(net.fc.training());
  EXPECT_EQ(net.parameters().size(), 2u);
  net.fc.unfreeze();
  net.train();
  EXPECT_TRUE(net.fc.training());
  EXPECT_EQ(net.parameters().size(), 4u);
}

TEST(Models, AHeadIsTheLastChildOfANetworkThatHasOne) {
  Throwing net;
  EXPECT_ERROR(head_prefix(net), "[model] expected a network whose last child is its head, got no children");
  EXPECT_ERROR(freeze_backbone(net), "got no children");
}

TEST(Observer, FindsTheFirstNonFiniteLayer) {
  Resnet net = resnet8();
  net.eval();
  fill({"w", find(net.named_parameters(), "layer2.0.conv2.weight")}, Init::constant(INFINITY), 0, 0);
  std::string first;
  const ForwardObserver observer([&](const std::string& name, const Tensor& y) {
    if (first.empty() && !std::isfinite(sum(y).item())) first = name;
  });
  net(images(2, 8, 3));
  EXPECT_EQ(first, "layer2.0.conv2");
}

}  // namespace
}  // namespace fulcrum
