// Modules that take a whole network as a child.
#include <fulcrum/layers/models.h>

#include "testing.h"

namespace fulcrum::testing {
namespace {

struct TwoHeads : Module {
  Classifier& backbone = adopt("backbone", make_model("resnet8", {.channels = 1, .dropout = 0.5, .seed = 3}));
  Linear& other = add<Linear>("other", LinearOptions{.in = 64, .out = 2});
  Tensor forward(const Tensor& x) override { return other(backbone.features(x)); }
};

TEST(Adopt, KeepsTheWeightsAndJoinsTheTree) {
  TwoHeads net;
  const auto alone = make_model("resnet8", {.channels = 1, .seed = 3});
  const TensorMap dict = net.state_dict();
  EXPECT_TRUE(same_bits(dict.at("backbone.layer1.0.conv1.weight"), alone->state_dict().at("layer1.0.conv1.weight")));
  EXPECT_TRUE(dict.contains("other.weight"));
  EXPECT_EQ(net.backbone.children()[0]->full_name(), "backbone.conv1");
  EXPECT_EQ(net.named_generators().size(), 1u);
  net.to(Device(), DType::kBf16);
  net.eval();
  EXPECT_FALSE(net.backbone.children()[0]->training());
  const Tensor x = ones({2, 8, 8, 1}, {DType::kBf16, {}});
  EXPECT_EQ(net(x).shape(), (Shape{2, 2}));
  net.train();
  sum(net(x).to(DType::kF32)).backward();
  EXPECT_TRUE(net.backbone.children()[0]->parameters()[0].grad());
}

struct Shared : Module {
  Shared() : Module(0) {}
  using Module::add;
  using Module::adopt;
  using Module::release;
  Tensor forward(const Tensor& x) override { return x; }
};

TEST(Adopt, WhatComesAfterItHasRandomNumbersOfItsOwn) {
  Shared net;
  const ModelOptions options{.channels = 1, .dropout = 0.5, .image = 8};
  Module &first = net.adopt("first", make_model("mlp", options)),
         &second = net.adopt("second", make_model("mlp", options));
  Linear& linear = net.add<Linear>("linear", LinearOptions{.in = 64, .out = 256});
  const Tensor of_first = first.named_parameters()[0].tensor;
  EXPECT_EQ(of_first.shape(), linear.weight.shape());
  EXPECT_FALSE(same_bits(of_first, linear.weight));
  EXPECT_TRUE(same_bits(of_first, make_model("mlp", options)->named_parameters()[0].tensor));
  EXPECT_NE(first.named_generators()[0].second->stream, second.named_generators()[0].second->stream);
}

TEST(Adopt, CanBeUndone) {
  const std::shared_ptr<Module> child = make_model("resnet8");
  Shared net;
  net.adopt("a", child);
  net.release(*child);
  EXPECT_EQ(child->full_name(), "");
  EXPECT_TRUE(net.children().empty());
  EXPECT_ERROR(net.release(*child), "expected a child of ''");
  net.adopt("b", child);
  EXPECT_EQ(child->full_name(), "b");
}

// The backward pass runs the network again, which nobody else holds any more.
TEST(Adopt, ANetworkThatRecomputesLivesUntilTheBackwardPass) {
  Tensor weight, y;
  {
    const std::shared_ptr<Module> net = make_model("resnet8", {.channels = 1, .recompute = true});
    weight = net->named_parameters()[0].tensor;
    net->set_recompute();
    y = sum((*net)(ones({2, 8, 8, 1})));
  }
  const auto other = make_model("resnet8", {.channels = 1});  // in the memory that would be free
  y.backward();
  EXPECT_TRUE(weight.grad());
}

TEST(Adopt, TakesARootOnceAndNotItself) {
  const std::shared_ptr<Module> child = make_model("resnet8");
  {
    Shared parent, second;
    parent.adopt("a", child);
    EXPECT_ERROR(second.adopt("b", child), "a module without a parent for 'b', got 'a' of another");
    EXPECT_ERROR(parent.adopt("a", std::make_shared<Shared>()), "expected a new name");
    EXPECT_ERROR(parent.adopt("c", std::shared_ptr<Module>()), "expected a module for 'c', got none");
  }
  EXPECT_EQ(child->full_name(), "");  // a root again
  Shared next;
  next.adopt("d", child);
  EXPECT_EQ(child->full_name(), "d");
  const auto own = std::make_shared<Shared>();
  EXPECT_ERROR(own->adopt("own", own), "'own' cannot be a child of its own");
}

}  // namespace
}  // namespace fulcrum::testing
