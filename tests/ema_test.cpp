// The moving average of a model against its closed form, and what exchanging leaves behind.
#include <fulcrum/layers/ema.h>

#include <fulcrum/core/arena.h>
#include <fulcrum/layers/resnet.h>

#include "testing.h"

namespace fulcrum::testing {
namespace {

class TwoLayers : public Module {
 public:
  Conv2d& conv = add<Conv2d>("conv", Conv2dOptions{.in = 1, .out = 4, .kernel = 3, .padding = 1});
  BatchNorm& bn = add<BatchNorm>("bn", BatchNormLayerOptions{.channels = 4});
  Tensor forward(const Tensor& x) override { return bn(conv(x)); }
};

std::vector<double> values(const std::vector<NamedTensor>& all, const std::string& name) {
  for (const NamedTensor& t : all)
    if (t.name == name) return t.tensor.to_vector();
  ADD_FAILURE() << "no tensor named " << name;
  return {};
}

TEST(Ema, FollowsItsClosedForm) {
  TwoLayers net;
  net.to({});
  Ema ema(net, 0.75);
  std::vector<double> weight = values(net.named_parameters(), "conv.weight");
  std::vector<double> variance = values(net.named_buffers(), "bn.running_var");
  for (int step = 1; step <= 5; step++) {
    for (const NamedTensor& p : net.named_parameters()) {
      Tensor value = p.tensor.detach();
      value.copy_from(random_tensor(value.shape(), static_cast<uint64_t>(step), -1, 1, DType::kF32));
    }
    net(random_tensor({2, 5, 5, 1}, 50 + static_cast<uint64_t>(step), -2, 2, DType::kF32));
    ema.update();
    const auto follow = [](std::vector<double>& average, const std::vector<double>& now) {
      for (size_t i = 0; i < now.size(); i++) average[i] = 0.75 * average[i] + 0.25 * now[i];
    };
    follow(weight, values(net.named_parameters(), "conv.weight"));
    follow(variance, values(net.named_buffers(), "bn.running_var"));
  }
  const auto got = values(ema.tensors(), "conv.weight");
  for (size_t i = 0; i < got.size(); i++) EXPECT_NEAR(got[i], weight[i], 1e-6);
  const auto got_variance = values(ema.tensors(), "bn.running_var");
  for (size_t i = 0; i < 4; i++) EXPECT_NEAR(got_variance[i], variance[i], 1e-6);
}

TEST(Ema, HoldsEveryFloatingTensorOfTheModel) {
  Resnet net = resnet8();
  const Ema ema(net, 0.9);
  size_t floating = net.named_parameters().size();
  for (const NamedTensor& b : net.named_buffers()) floating += is_floating(b.tensor.dtype());
  EXPECT_EQ(ema.tensors().size(), floating);
}

TEST(Ema, IsAppliedAndTakenBackWithItsTwins) {
  Resnet net = resnet8({.classes = 4, .channels = 1});
  net.to({}, DType::kBf16);
  net.eval();
  const Tensor x = random_tensor({3, 8, 8, 1}, 9, -1, 1, DType::kF32).to(DType::kBf16);
  const Tensor first = net(x);
  Ema ema(net, 0.5);  // holds the initial values
  for (const NamedTensor& p : net.named_parameters()) {
    Tensor value = p.tensor.detach();
    value.copy_from(random_tensor(value.shape(), 5, -0.5, 0.5, DType::kF32));
    refresh_twin(p.tensor);
  }
  const Tensor second = net(x);
  ASSERT_FALSE(same_bits(first, second));
  {
    const Ema::Applied averaged(ema);
    EXPECT_TRUE(same_bits(net(x), first));
  }
  EXPECT_TRUE(same_bits(net(x), second));
}

TEST(Ema, RefusesADecayOutOfRange) {
  Resnet net = resnet8();
  for (const double decay : {-0.1, 1.0, std::nan("")}) EXPECT_THROW(Ema(net, decay), Error);
}

}  // namespace
}  // namespace fulcrum::testing
