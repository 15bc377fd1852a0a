// torchvision's ResNet family: names, structure, initial values, stems; and every network by name.
#include <fulcrum/layers/imagenet_resnet.h>

#include <map>

#include <fulcrum/core/autograd.h>
#include <fulcrum/layers/models.h>
#include <fulcrum/layers/resnet.h>

#include "testing.h"

namespace fulcrum {
namespace {

using testing::random_tensor;
using testing::same_bits;

Tensor images(int64_t n, int64_t size, int64_t channels = 3) {
  return random_tensor({n, size, size, channels}, 77, -2, 2, DType::kF32);
}

// The shape of every module's result, by name.
std::map<std::string, Shape> shapes_of(Module& net, const Tensor& x) {
  const NoGrad no_grad;
  net.eval();
  std::map<std::string, Shape> shapes;
  const ForwardObserver observer([&](const std::string& name, const Tensor& y) { shapes[name] = y.shape(); });
  net(x);
  return shapes;
}

double stddev(const Tensor& t) {
  double squares = 0;
  for (double x : t.to_vector()) squares += x * x;
  return std::sqrt(squares / static_cast<double>(t.numel()));
}

TEST(ImagenetResnet, HasTorchvisionsNamesAndShapes) {
  const ImagenetResnet net = resnet50({.classes = 7});
  const auto parameters = net.named_parameters();
  ASSERT_EQ(parameters.size(), 161u);
  EXPECT_EQ(net.named_buffers().size(), 53u * 3);
  std::vector<std::string> names;
  for (const NamedTensor& p : parameters) names.push_back(p.name);
  const std::vector<std::string> first = {"conv1.weight",
                                          "bn1.weight",
                                          "bn1.bias",
                                          "layer1.0.conv1.weight",
                                          "layer1.0.bn1.weight",
                                          "layer1.0.bn1.bias",
                                          "layer1.0.conv2.weight",
                                          "layer1.0.bn2.weight",
                                          "layer1.0.bn2.bias",
                                          "layer1.0.conv3.weight",
                                          "layer1.0.bn3.weight",
                                          "layer1.0.bn3.bias",
                                          "layer1.0.downsample.0.weight",
                                          "layer1.0.downsample.1.weight",
                                          "layer1.0.downsample.1.bias",
                                          "layer1.1.conv1.weight"};
  EXPECT_EQ(std::vector<std::string>(names.begin(), names.begin() + 16), first);
  EXPECT_EQ(names[names.size() - 3], "layer4.2.bn3.bias");
  EXPECT_EQ(names.back(), "fc.bias");

  const TensorMap dict = net.state_dict();
  EXPECT_EQ(dict.at("conv1.weight").shape(), (Shape{64, 3, 7, 7}));
  EXPECT_EQ(dict.at("layer2.0.conv1.weight").shape(), (Shape{128, 256, 1, 1}));
  EXPECT_EQ(dict.at("layer2.0.downsample.0.weight").shape(), (Shape{512, 256, 1, 1}));
  EXPECT_EQ(dict.at("layer4.2.bn3.num_batches_tracked").shape(), Shape{});
  EXPECT_EQ(dict.at("fc.weight").shape(), (Shape{7, 2048}));
}

TEST(ImagenetResnet, HasTheStrideOfABottleneckOnIts3x3) {
  ImagenetResnet net = resnet50({.classes = 7});
  const auto shapes = shapes_of(net, images(1, 64));
  EXPECT_EQ(shapes.at("conv1"), (Shape{1, 32, 32, 64}));
  EXPECT_EQ(shapes.at("layer1.0.conv1"), (Shape{1, 16, 16, 64})) << "after the pooling";
  EXPECT_EQ(shapes.at("layer2.0.conv1"), (Shape{1, 16, 16, 128}));
  EXPECT_EQ(shapes.at("layer2.0.conv2"), (Shape{1, 8, 8, 128}));
  EXPECT_EQ(shapes.at("layer4"), (Shape{1, 2, 2, 2048}));
  EXPECT_EQ(shapes.at(""), (Shape{1, 7}));
}

TEST(ImagenetResnet, HasGroupsInResnext) {
  const TensorMap dict = resnext50_32x4d({.classes = 7}).state_dict();
  EXPECT_EQ(dict.at("layer1.0.conv2.weight").shape(), (Shape{128, 4, 3, 3}));
  EXPECT_EQ(dict.at("layer4.0.conv2.weight").shape(), (Shape{1024, 32, 3, 3}));
  EXPECT_EQ(dict.at("layer4.0.conv3.weight").shape(), (Shape{2048, 1024, 1, 1}));
}

TEST(ImagenetResnet, StartsAsTorchvisionsDo) {
  const TensorMap dict = resnet18({.classes = 100, .seed = 7}).state_dict();
  const auto expect_spread = [&](const char* name, double expected) {
    EXPECT_NEAR(stddev(dict.at(name)), expected, 0.04 * expected) << name;
  };
  expect_spread("conv1.weight", std::sqrt(2.0 / (49 * 64)));  // fan out
  expect_spread("layer2.0.conv1.weight", std::sqrt(2.0 / (9 * 128)));
  expect_spread("layer2.0.downsample.0.weight", std::sqrt(2.0 / 128));
  expect_spread("fc.weight", 1 / std::sqrt(3.0 * 512));
  for (double x : dict.at("fc.weight").to_vector()) ASSERT_LE(std::abs(x), 1 / std::sqrt(512.0));
  EXPECT_EQ(dict.at("layer1.0.bn2.weight").to_vector(), std::vector<double>(64, 1));
  EXPECT_EQ(dict.at("layer1.0.bn2.bias").to_vector(), std::vector<double>(64, 0));
  EXPECT_FALSE(same_bits(resnet10({.seed = 8}).state_dict().at("conv1.weight"),
                         resnet10({.seed = 7}).state_dict().at("conv1.weight")));
}

TEST(ImagenetResnet, CanStartEveryBlockAsItsShortcut) {
  const TensorMap basic = resnet10({.zero_init_residual = true}).state_dict();
  EXPECT_EQ(basic.at("layer1.0.bn2.weight").to_vector(), std::vector<double>(64, 0));
  EXPECT_EQ(basic.at("layer1.0.bn1.weight").to_vector(), std::vector<double>(64, 1));
  EXPECT_EQ(basic.at("layer4.0.downsample.1.weight").to_vector(), std::vector<double>(512, 1));
  const ImagenetResnet net({.bottleneck = true, .depth = {1, 1, 1, 1}}, {.zero_init_residual = true});
  const TensorMap bottleneck = net.state_dict();
  EXPECT_EQ(bottleneck.at("layer1.0.bn3.weight").to_vector(), std::vector<double>(256, 0));
  EXPECT_EQ(bottleneck.at("layer1.0.bn2.weight").to_vector(), std::vector<double>(64, 1));
}

TEST(ImagenetResnet, HasAStemForSmallImages) {
  ImagenetResnet net = resnet10({.classes = 5, .channels = 1, .stem = "cifar"});
  EXPECT_EQ(net.state_dict().at("conv1.weight").shape(), (Shape{64, 1, 3, 3}));
  const auto shapes = shapes_of(net, images(2, 32, 1));
  EXPECT_EQ(shapes.at("layer1"), (Shape{2, 32, 32, 64}));
  EXPECT_EQ(shapes.at("layer4"), (Shape{2, 4, 4, 512}));
  EXPECT_EQ(shapes.at(""), (Shape{2, 5}));
  EXPECT_ERROR(resnet10({.stem = "none"}), "expected the stem imagenet or cifar, got 'none'");
  EXPECT_ERROR(resnet10({.classes = 0}), "classes and channels");
}

TEST(ImagenetResnet, HasDropoutAndANormedHead) {
  ImagenetResnet net = resnet10({.classes = 4, .dropout = 0.5, .normed_head = true});
  EXPECT_EQ(net.named_parameters().back().name, "fc.weight");
  const Tensor x = images(4, 32);
  const Tensor y = net(x);
  for (double cosine : y.to_vector()) EXPECT_LE(std::abs(cosine), 1.0001);
  EXPECT_FALSE(same_bits(y, net(x))) << "dropout";
  EXPECT_ERROR(resnet10({.dropout = 1}), "probability");
}

// ---- by name ----

TEST(Models, AllNamesAreListed) {
  const std::vector<std::string> expected = {"resnet8",   "resnet20",  "resnet32",        "resnet44", "resnet56",
                                             "resnet110", "resnet10",  "resnet18",        "resnet34", "resnet50",
                                             "resnet101", "resnet152", "resnext50_32x4d", "sce_cnn",  "mlp"};
  EXPECT_EQ(model_names(), expected);
  EXPECT_ERROR(make_model("resnet33"), "one of resnet8, resnet20, resnet32");
}

TEST(Models, OptionsReachTheNetwork) {
  for (const char* name : {"resnet8", "resnet10"}) {
    const auto net = make_model(name, {.classes = 7, .channels = 1, .dropout = 0.5, .seed = 3});
    EXPECT_FALSE(same_bits((*net)(images(2, 32, 1)), (*net)(images(2, 32, 1)))) << "dropout";
    net->eval();
    EXPECT_EQ((*net)(images(1, 9, 1)).shape(), (Shape{1, 7}));
    const auto other = make_model(name, {.classes = 7, .channels = 1, .seed = 4});
    EXPECT_FALSE(same_bits(net->state_dict().at("fc.weight"), other->state_dict().at("fc.weight")));
    EXPECT_EQ(make_model(name, {.normed_head = true})->named_parameters().back().name, "fc.weight");
  }
  EXPECT_TRUE(same_bits(make_model("resnet20", {.seed = 5})->state_dict().at("layer2.1.conv1.weight"),
                        resnet20({.seed = 5}).state_dict().at("layer2.1.conv1.weight")));
}

TEST(Models, HaveTheirOwnClassesAndStem) {
  const auto head = [](const char* name, const ModelOptions& o) {
    return make_model(name, o)->state_dict().at("fc.weight").size(0);
  };
  const auto kernel = [](const char* name, const std::string& stem) {
    return make_model(name, {.stem = stem})->state_dict().at("conv1.weight").size(3);
  };
  EXPECT_EQ(head("resnet8", {}), 10);
  EXPECT_EQ(head("resnet10", {}), 1000);
  EXPECT_EQ(head("resnet10", {.classes = 12}), 12);
  EXPECT_EQ(kernel("resnet10", ""), 7);
  EXPECT_EQ(kernel("resnet10", "imagenet"), 7);
  EXPECT_EQ(kernel("resnet10", "cifar"), 3);
  EXPECT_EQ(kernel("resnet8", "cifar"), 3);
  EXPECT_ERROR(make_model("resnet8", {.stem = "imagenet"}), "expected the stem cifar");
}

}  // namespace
}  // namespace fulcrum
