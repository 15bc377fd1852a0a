// A whole training step on the device: against the CPU, and recorded against eager.
#include <fulcrum/core/recompute.h>
#include <fulcrum/core/replay.h>
#include <fulcrum/layers/ema.h>
#include <fulcrum/layers/layers.h>
#include <fulcrum/layers/resnet.h>
#include <fulcrum/optim/absgd.h>
#include <fulcrum/optim/risks.h>

#include "device_testing.h"

namespace fulcrum::testing {
namespace {

struct StepSettings {
  DType dtype = DType::kF32;
  bool record = false;
  double dropout = 0;
  bool recompute = false;
};

// A small residual network that sees one batch after another, at an address that stays.
class Training {
 public:
  Training(Device device, const StepSettings& s)
      : settings_(s),
        device_(device),
        net_(resnet8({.classes = 5, .channels = 3, .recompute = s.recompute})),
        step_(device, [this] { step(); }) {
    net_.to(device, s.dtype);
    optimizer_ = std::make_unique<Absgd>(
        net_.parameters(),
        AbsgdOptions{.lr = 0.01, .momentum = 0.9, .weight_decay = 1e-3, .max_norm = 1, .lambda = 2, .gamma = 0.5});
    ema_ = std::make_unique<Ema>(net_, 0.9);
    images_ = empty({6, 8, 8, 3}, {s.dtype, device});
    labels_ = labels_of({0, 1, 2, 3, 4, 0}).to(device);
  }

  double run(uint64_t number) {
    images_.copy_from(random_tensor(images_.shape(), 40 + number, -1, 1, DType::kF32));
    if (settings_.record) step_();
    else step();
    return sum(losses_).item();
  }
  Optimizer& optimizer() { return *optimizer_; }
  Absgd& absgd() { return *optimizer_; }
  bool recorded() const { return step_.recorded(); }
  int64_t launches() const { return step_.launches(); }
  Tensors state() {
    Tensors all;
    for (const auto& p : net_.named_parameters()) all.push_back(p.tensor.detach());
    for (const auto& b : net_.named_buffers())
      if (is_floating(b.tensor.dtype())) all.push_back(b.tensor);
    for (const auto& t : ema_->tensors()) all.push_back(t.tensor);
    for (const auto& [key, t] : optimizer_->state()) all.push_back(t);
    all.push_back(generator_.position);
    return all;
  }

 private:
  void step() {
    const auto forward = [this](const Tensor& images) {
      const Tensor logits = net_(images);
      return settings_.dropout > 0 ? dropout(logits, settings_.dropout, generator_) : logits;
    };
    const Tensor logits = settings_.recompute ? recompute(forward, images_) : forward(images_);
    const Tensor losses = cross_entropy(logits, labels_);
    optimizer_->zero_grad();
    optimizer_->weigh(losses).backward();
    optimizer_->step();
    ema_->update(optimizer_->control());
    losses_ = losses.detach();
  }

  StepSettings settings_;
  Device device_;
  Resnet net_;
  Generator generator_{kSeed, streams::kDropout, device_};
  std::unique_ptr<Absgd> optimizer_;
  std::unique_ptr<Ema> ema_;
  Tensor images_, labels_, losses_;
  Replay step_;
};

void expect_same_state(Training& a, Training& b) {
  const Tensors x = a.state(), y = b.state();
  ASSERT_EQ(x.size(), y.size());
  for (size_t i = 0; i < x.size(); i++) EXPECT_TRUE(same_bits(x[i], y[i])) << "tensor " << i;
}

TEST(CudaStep, FollowsTheCpu) {
  FULCRUM_NEEDS_CUDA();
  Training cpu(Device(), {}), gpu(Device("cuda"), {});
  for (uint64_t i = 0; i < 5; i++) {
    const double expected = cpu.run(i);
    EXPECT_NEAR(gpu.run(i), expected, 1e-3 * expected) << "step " << i;
  }
  EXPECT_EQ(gpu.optimizer().steps(), 5);
}

// Five steps of ResNet-32 at a learning rate of 0.01 end at the CPU's loss.
TEST(CudaStep, FiveStepsOfResnet32FollowTheCpu) {
  FULCRUM_NEEDS_CUDA();
  const int64_t batch = emulated() ? 2 : 128, side = emulated() ? 8 : 32;
  const auto train = [&](Device device) {
    Resnet net = resnet32({.classes = 10, .channels = 3});
    net.to(device, DType::kF32);
    Absgd optimizer(net.parameters(), AbsgdOptions{.lr = 0.01, .momentum = 0.9, .lambda = 2, .gamma = 0.5});
    std::vector<int64_t> labels;
    for (int64_t i = 0; i < batch; i++) labels.push_back(i % 10);
    const Tensor x = random_tensor({batch, side, side, 3}, 40, -1, 1, DType::kF32).to(device);
    const Tensor y = labels_of(labels).to(device);
    double loss = 0;
    for (int step = 0; step < 5; step++) {
      const Tensor losses = cross_entropy(net(x), y);
      optimizer.zero_grad();
      optimizer.weigh(losses).backward();
      optimizer.step();
      loss = mean(losses).item();
    }
    return loss;
  };
  const double expected = train(Device());
  EXPECT_NEAR(train(Device("cuda")), expected, 1e-3 * expected);
}

// What runs beside the recorded step, and smaller, finds room in the memory that the step has taken.
TEST(CudaStep, ASmallerStepTakesNoMemoryOfItsOwn) {
  FULCRUM_NEEDS_CUDA();
  const Device device("cuda");
  const Tensor input = ones({64, 96}, {DType::kF32, device});
  Tensor result = zeros_like(sum(input));
  const auto step = [&](const Tensor& x) { result.copy_from(sum(exp(relu(mul(x, x))))); };
  Replay replay(device, [&] { step(input); });
  for (int i = 0; i < 3; i++) replay();
  const double whole = result.item();
  const size_t before = memory_stats(device).reserved;
  replay.eagerly([&] { step(input.slice(0, 37)); });
  EXPECT_NEAR(result.item(), 37 * 96 * std::exp(1.0), 1e-2);
  EXPECT_EQ(memory_stats(device).reserved, before);
  replay();
  EXPECT_EQ(result.item(), whole);
}

class CudaReplay : public ::testing::TestWithParam<DType> {};

TEST_P(CudaReplay, GivesTheBitsOfEagerSteps) {
  FULCRUM_NEEDS_CUDA();
  const Device device("cuda");
  Training eager(device, {GetParam(), false, 0.2}), recorded(device, {GetParam(), true, 0.2});
  for (uint64_t i = 0; i < 6; i++) {
    // Schedules go on under replay: both numbers are on the device.
    if (i == 4) eager.optimizer().set_lr(0.003), recorded.optimizer().set_lr(0.003);
    if (i == 5) eager.absgd().set_lambda(-3), recorded.absgd().set_lambda(-3);
    EXPECT_EQ(eager.run(i), recorded.run(i)) << "step " << i;
    EXPECT_EQ(recorded.recorded(), i >= 2);
  }
  expect_same_state(eager, recorded);
}

// The blocks are recomputed, and so is all of it with a dropout behind: its second draw replays from the position of
// the first.
TEST_P(CudaReplay, RecomputesToTheSameBits) {
  FULCRUM_NEEDS_CUDA();
  const Device device("cuda");
  Training kept(device, {GetParam(), true, 0.2}), recomputed(device, {GetParam(), true, 0.2, true});
  for (uint64_t i = 0; i < 4; i++) EXPECT_EQ(kept.run(i), recomputed.run(i)) << "step " << i;
  EXPECT_TRUE(recomputed.recorded());
  expect_same_state(kept, recomputed);
}

INSTANTIATE_TEST_SUITE_P(Dtypes, CudaReplay, ::testing::Values(DType::kF32, DType::kBf16),
                         [](const auto& dtype) { return name_of(dtype.param); });

TEST(CudaStep, AsksTheSystemForNoMemoryOnceItIsWarm) {
  FULCRUM_NEEDS_CUDA();
  const Device device("cuda");
  Training training(device, {DType::kF32, true, 0});
  for (uint64_t i = 0; i < 3; i++) training.run(i);
  const size_t before = memory_stats(device).system_requests;
  for (uint64_t i = 3; i < 6; i++) training.run(i);
  EXPECT_EQ(memory_stats(device).system_requests, before);
}

// The sums of the gradients into their arena are few launches, not one for each of 29 parameters; so are the
// averages.
TEST(CudaStep, LaunchesFewKernels) {
  FULCRUM_NEEDS_CUDA();
  Training training(Device("cuda"), {DType::kBf16, true, 0});
  for (uint64_t i = 0; i < 3; i++) training.run(i);
  EXPECT_GT(training.launches(), 0);
  // On a GPU a plan of cuDNN may be several kernels.
  EXPECT_LE(training.launches(), emulated() ? 95 : 190);
}

TEST(CudaStep, ABadBatchUpdatesNothing) {
  FULCRUM_NEEDS_CUDA();
  Training training(Device("cuda"), {DType::kF32, true, 0});
  for (uint64_t i = 0; i < 4; i++) training.run(i);
  EXPECT_TRUE(training.optimizer().finite());
  training.optimizer().set_lr(1e38);  // the next update makes the weights explode
  for (uint64_t i = 4; i < 8; i++) training.run(i);
  EXPECT_FALSE(training.optimizer().finite());
  EXPECT_LT(training.optimizer().steps(), 8);
}

TEST(CudaErrors, NameTheOperationAndTheTensorThatIsElsewhere) {
  FULCRUM_NEEDS_CUDA();
  const Device device("cuda");
  const Tensor x = ones({2, 5, 5, 3}, {DType::kF32, device}), w = ones({4, 3, 3, 3});
  EXPECT_ERROR(conv2d(x, w), "[conv2d] expected weight on cuda:0 like x, got cpu");
  EXPECT_ERROR(add(x, ones({1})), "[add] expected b on cuda:0 like a, got cpu");
  EXPECT_ERROR(cross_entropy(ones({1, 2}, {DType::kF32, device}), labels_of({0})),
               "[cross_entropy] expected labels on cuda:0 like logits, got cpu");
  EXPECT_ERROR(cuda::use_device(99), "cuda:99");
  const Tensor loss = sum(x.clone().set_requires_grad());
  EXPECT_ERROR(loss.backward(ones({1})), "[backward] expected seed on cuda:0 like tensor, got cpu");
  const Tensor losses = ones({2}, {DType::kF32, device});
  EXPECT_ERROR(GroupRisk({.groups = 2}).weights(losses, {}), "[risk] expected a group for each");
  EXPECT_ERROR(GroupRisk({.groups = 2}).weights(losses, {.groups = labels_of({0, 1}).to(device)}),
               "[risk] expected losses on cpu like the risk's state, got cuda:0");
  EXPECT_ERROR(GroupRisk({.groups = 2}, device).weights(losses, {.groups = labels_of({0, 1})}),
               "[risk] expected groups on cuda:0 like the losses, got cpu");
}

}  // namespace
}  // namespace fulcrum::testing
