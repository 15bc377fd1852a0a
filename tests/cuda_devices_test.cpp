// Two devices in one process: what is asked of the second one happens there, and leaves the first alone. Skipped where
// there is one; on the emulator FULCRUM_SIMT_DEVICES=2 makes the second.
#include <fulcrum/core/replay.h>
#include <fulcrum/layers/resnet.h>
#include <fulcrum/optim/absgd.h>

#include "device_testing.h"

namespace fulcrum::testing {
namespace {

const Device kFirst("cuda:0"), kSecond("cuda:1");

class CudaDevices : public ::testing::Test {
 protected:
  void SetUp() override {
    if (cuda::device_count() < 2) GTEST_SKIP() << "needs two devices, there are " << cuda::device_count();
    cuda::use_device(kFirst.index);  // what does not choose a device by itself goes to the wrong one
  }
};

TEST_F(CudaDevices, MemoryIsTakenWhereItIsAsked) {
  const MemoryStats first = memory_stats(kFirst), second = memory_stats(kSecond);
  const int64_t bytes = 3 << 20;
  const Tensor x = zeros({bytes}, {DType::kU8, kSecond});
  EXPECT_EQ(x.device(), kSecond);
  EXPECT_GE(memory_stats(kSecond).allocated, second.allocated + bytes);
  EXPECT_EQ(memory_stats(kFirst).allocated, first.allocated);
  EXPECT_EQ(memory_stats(kFirst).system_requests, first.system_requests);
  EXPECT_EQ(sum(x.to(DType::kF32)).item(), 0);
}

TEST_F(CudaDevices, PeaksAndCachesArePerDevice) {
  for (const Device device : {kFirst, kSecond}) zeros({1 << 20}, {DType::kU8, device});
  reset_peak_memory(kFirst);
  reset_peak_memory(kSecond);
  const MemoryStats first = memory_stats(kFirst);
  zeros({5 << 20}, {DType::kU8, kSecond});
  EXPECT_EQ(memory_stats(kFirst).peak, first.peak);
  EXPECT_GE(memory_stats(kSecond).peak, memory_stats(kSecond).allocated + (5 << 20));
  const MemoryStats full = memory_stats(kSecond);
  EXPECT_GT(full.reserved, full.allocated);
  empty_cache(kSecond);
  EXPECT_EQ(memory_stats(kSecond).reserved, memory_stats(kSecond).allocated);
  EXPECT_EQ(memory_stats(kFirst).reserved, first.reserved);
}

TEST_F(CudaDevices, CopiesGoFromEachToEach) {
  const Device all[] = {Device(), kFirst, kSecond};
  const Tensor numbers = random_tensor({5, 7}, 1, -1, 1, DType::kF32);
  for (const Device from : all)
    for (const Device to : all) {
      SCOPED_TRACE(concat_text(from, " to ", to));
      const Tensor x = numbers.clone().to(from);
      const Tensor copy = x.to(to);
      EXPECT_EQ(copy.device(), to);
      EXPECT_TRUE(same_bits(copy, numbers));
      Tensor narrow = zeros(x.shape(), {DType::kBf16, to});
      narrow.copy_from(x);
      EXPECT_TRUE(same_bits(narrow, numbers.to(DType::kBf16)));
      Tensor part = zeros({2, 7}, {DType::kF32, to});
      part.copy_from(x.slice(3, 5));
      EXPECT_TRUE(same_bits(part, numbers.slice(3, 5).clone()));
      EXPECT_TRUE(same_bits(add(copy, copy), add(numbers, numbers)));
      if (from == to) continue;
      Tensor(x).copy_from(zeros(x.shape()));
      EXPECT_TRUE(same_bits(copy, numbers)) << "after its source was overwritten";
    }
}

TEST_F(CudaDevices, AGradientGoesBackToTheDeviceOfItsInput) {
  const Tensor x = ones({3}, {DType::kF32, kFirst}).set_requires_grad();
  sum(mul(x.to(kSecond), 3)).backward();
  EXPECT_EQ(x.grad().device(), kFirst);
  EXPECT_EQ(x.grad().to_vector(), (std::vector<double>{3, 3, 3}));
}

// ---- training ----

// What three steps of a small network leave, eager or recorded: parameters, statistics, the optimiser's state.
template <class Rule, class Options>
Tensors trained(Device device, DType dtype, const Options& options, bool recorded) {
  Resnet net = resnet8({.classes = 5, .channels = 3});
  net.to(device, dtype);
  Rule optimizer(net.parameters(), options);
  Tensor images = empty({4, 8, 8, 3}, {dtype, device}), losses;
  const Tensor labels = labels_of({0, 1, 2, 3}).to(device);
  const auto step = [&] {
    losses = cross_entropy(net(images), labels);
    optimizer.zero_grad();
    optimizer.weigh(losses).backward();
    optimizer.step();
  };
  Replay replay(device, step);
  for (uint64_t i = 0; i < 4; i++) {
    images.copy_from(random_tensor(images.shape(), 40 + i, -1, 1, DType::kF32));
    cuda::use_device(kFirst.index);  // as other work between two steps may leave it
    recorded ? replay() : step();
  }
  EXPECT_EQ(replay.recorded(), recorded);
  Tensors all{losses.detach()};
  for (const auto& p : net.named_parameters()) all.push_back(p.tensor.detach());
  for (const auto& b : net.named_buffers()) all.push_back(b.tensor);
  for (const auto& [key, t] : optimizer.state()) all.push_back(t);
  for (const Tensor& t : all) EXPECT_TRUE(t.device() == device || t.device().is_cpu()) << t.device();
  return all;
}

template <class Rule, class Options>
void expect_same_training(const Options& options) {
  for (const bool recorded : {false, true}) {
    const DType dtype = recorded ? DType::kBf16 : DType::kF32;
    SCOPED_TRACE(concat_text(name_of(dtype), recorded ? ", recorded" : ""));
    const Tensors first = trained<Rule>(kFirst, dtype, options, recorded);
    const size_t before = memory_stats(kFirst).allocated;
    const Tensors second = trained<Rule>(kSecond, dtype, options, recorded);
    EXPECT_EQ(memory_stats(kFirst).allocated, before);
    ASSERT_EQ(first.size(), second.size());
    for (size_t i = 0; i < first.size(); i++) EXPECT_TRUE(same_bits(first[i], second[i])) << "tensor " << i;
  }
}

TEST_F(CudaDevices, SgdTrainsToTheSameBitsOnEither) {
  expect_same_training<Sgd>(SgdOptions{.lr = 0.1, .momentum = 0.9, .weight_decay = 1e-3});
}

TEST_F(CudaDevices, AbsgdTrainsToTheSameBitsOnEither) {
  expect_same_training<Absgd>(AbsgdOptions{.lr = 0.1, .weight_decay = 1e-3, .max_norm = 1, .lambda = 2, .gamma = 0.5});
}

// ---- refusals ----

TEST_F(CudaDevices, OperandsOnTwoAreRefused) {
  const auto on = [](Device device, auto... sizes) {
    return ones({static_cast<int64_t>(sizes)...}, {DType::kF32, device});
  };
  const auto a = [&](auto... sizes) { return on(kFirst, sizes...); };
  const auto b = [&](auto... sizes) { return on(kSecond, sizes...); };
  const auto leaf = [](Tensor t) { return t.set_requires_grad(); };
  const Tensor labels = labels_of({0, 1}), here = labels.to(kFirst), there = labels.to(kSecond);
  const CrossEntropyArgs weighted{.class_weight = b(3)};
  const LdrKlArgs ldr{.class_weight = b(3)};
  const AldrKlArgs aldr{.class_weight = b(3)};
  const BatchNormTensors affine{b(3), b(3)}, statistics{a(3), a(3), b(3), b(3)};
  const BatchNormArgs residual{.residual = b(4, 3)};
  const SgdOptions sgd{.lr = 1};
  Generator generator(kSeed, streams::kDropout, kSecond);
  const Tensors both{leaf(a(2)), leaf(b(2))};
  Tensor table = a(3), x = leaf(a(2));
  const std::pair<const char*, std::function<void()>> mixed[] = {
      {"add", [&] { add(a(2, 3), b(2, 3)); }},
      {"maximum", [&] { maximum(a(2, 3), b(3)); }},
      {"gt", [&] { gt(a(2), b(2)); }},
      {"where", [&] { where(a(2), b(2), b(2)); }},
      {"where", [&] { where(a(2), a(2), b(2)); }},
      {"concat", [&] { concat(both, 0); }},
      {"stack", [&] { stack(both, 0); }},
      {"gather", [&] { gather(a(2), 0, there); }},
      {"index_select", [&] { index_select(a(3, 2), 0, there); }},
      {"index_copy_", [&] { index_copy_(table, 0, here, b(2)); }},
      {"index_copy_", [&] { index_copy_(table, 0, there, a(2)); }},
      {"matmul", [&] { matmul(a(2, 3), b(3, 2)); }},
      {"matmul", [&] { matmul(a(2, 2, 3), b(2, 3, 2)); }},
      {"linear", [&] { linear(a(2, 3), b(4, 3)); }},
      {"linear", [&] { linear(a(2, 3), a(4, 3), b(4)); }},
      {"conv2d", [&] { conv2d(a(1, 3, 3, 2), b(4, 3, 3, 2)); }},
      {"conv2d", [&] { conv2d(a(1, 3, 3, 2), a(4, 3, 3, 2), b(4)); }},
      {"batch_norm", [&] { batch_norm(a(4, 3), affine); }},
      {"batch_norm", [&] { batch_norm(a(4, 3), statistics); }},
      {"batch_norm", [&] { batch_norm(a(4, 3), {}, residual); }},
      {"layer_norm", [&] { layer_norm(a(4, 3), b(3), b(3)); }},
      {"group_norm", [&] { group_norm(a(4, 2, 2), 1, a(2), b(2)); }},
      {"dropout", [&] { dropout(a(3), 0.5, generator); }},
      {"cross_entropy", [&] { cross_entropy(a(2, 3), there); }},
      {"cross_entropy", [&] { cross_entropy(a(2, 3), here, weighted); }},
      {"ldr_kl_loss", [&] { ldr_kl_loss(a(2, 3), there); }},
      {"ldr_kl_loss", [&] { ldr_kl_loss(a(2, 3), here, ldr); }},
      {"aldr_kl_loss", [&] { aldr_kl_loss(a(2, 3), here, b(2)); }},
      {"aldr_kl_loss", [&] { aldr_kl_loss(a(2, 3), here, a(2), aldr); }},
      {"mse_loss", [&] { mse_loss(a(2, 3), b(2, 3)); }},
      {"binary_cross_entropy_with_logits", [&] { binary_cross_entropy_with_logits(a(2, 3), b(2, 3)); }},
      {"backward", [&] { sum(x).backward(b()); }},
      {"set_grad", [&] { x.set_grad(b(2)); }},
      {"weigh", [&] { Sgd(Tensors{leaf(a(2))}, sgd).weigh(b(2)); }},
      {"optimizer", [&] { Sgd(both, sgd); }},
      {"risk", [&] { KlRisk({.lambda = 1}, kFirst).weights(b(2), {}); }},
  };
  for (const auto& [op, call] : mixed) {
    SCOPED_TRACE(op);
    try {
      call();
      ADD_FAILURE() << "not refused";
    } catch (const Error& error) {
      const std::string text = error.what();
      for (const std::string& part : {concat_text("[", op, "] "), std::string("cuda:0"), std::string("cuda:1")})
        EXPECT_NE(text.find(part), std::string::npos) << part << " in: " << text;
    }
  }
}

TEST_F(CudaDevices, ADeviceBeyondTheLastIsRefused) {
  const std::string beyond = "cuda:" + std::to_string(cuda::device_count());
  EXPECT_ERROR(zeros({1}, {DType::kF32, Device(beyond)}),
               "[cuda] expected a device below " + beyond + ", got " + beyond);
}

}  // namespace
}  // namespace fulcrum::testing
