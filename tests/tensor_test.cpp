// Tensors, dtypes, bf16, views, shapes, errors, and the memory pool.
#include <limits>
#include <sstream>

#include <fulcrum/core/cuda/runtime.h>
#include <fulcrum/core/last_op.h>

#include "testing.h"

namespace fulcrum::testing {
namespace {

constexpr DType kAllDTypes[] = {DType::kF32, DType::kBf16, DType::kF64, DType::kU8, DType::kI32, DType::kI64};

TEST(Tensor, HoldsSmallIntegersInEveryDtype) {
  const std::vector<double> values{0, 1, 2, 3, 100, 127};
  for (DType dtype : kAllDTypes) {
    const Tensor t = from_vector({2, 3}, values, {dtype, {}});
    EXPECT_EQ(t.to_vector(), values) << dtype;
    EXPECT_EQ(t.dtype(), dtype);
    EXPECT_EQ(t.bytes(), 6 * size_of(dtype));
    for (DType other : kAllDTypes) EXPECT_EQ(t.to(other).to_vector(), values) << dtype << " to " << other;
    EXPECT_EQ(full({3}, 7, {dtype, {}}).to_vector(), (std::vector<double>{7, 7, 7}));
    EXPECT_EQ(zeros({2}, {dtype, {}}).to_vector(), (std::vector<double>{0, 0}));
    EXPECT_EQ(parse_dtype(name_of(dtype)), dtype);
  }
  EXPECT_EQ(from_vector({2}, std::vector<int64_t>{int64_t{1} << 62, -5}).data<int64_t>()[0], int64_t{1} << 62);
}

TEST(Tensor, ScalarsHaveNoDimensions) {
  const Tensor t = full({}, 2.5);
  EXPECT_EQ(t.dim(), 0);
  EXPECT_EQ(t.numel(), 1);
  EXPECT_EQ(t.item(), 2.5);
  EXPECT_ERROR(zeros({2}).item(), "[item] expected one element, got [2]");
}

TEST(Tensor, HandlesShareAndClonesDoNot) {
  Tensor a = from_vector({3}, std::vector<double>{1, 2, 3});
  Tensor handle = a;
  const Tensor detached = a.detach(), copy = a.clone();
  EXPECT_FALSE(a.is_unique());
  EXPECT_TRUE(copy.is_unique());
  handle.data<float>()[0] = 9;
  EXPECT_EQ(a.to_vector()[0], 9);
  EXPECT_EQ(detached.to_vector()[0], 9);
  EXPECT_EQ(copy.to_vector()[0], 1);
}

TEST(Tensor, ReshapeAndLeadingSliceAreViews) {
  Tensor x = from_vector({4, 3}, std::vector<double>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});
  const Tensor rows = x.slice(1, 3), flat = rows.reshape({-1}), cell = x.reshape({2, 2, 3}).slice(1, 2);
  EXPECT_EQ(rows.shape(), (Shape{2, 3}));
  EXPECT_EQ(flat.to_vector(), (std::vector<double>{3, 4, 5, 6, 7, 8}));
  EXPECT_EQ(cell.to_vector(), (std::vector<double>{6, 7, 8, 9, 10, 11}));
  x.data<float>()[6] = -1;
  EXPECT_EQ(rows.to_vector()[3], -1);
  EXPECT_EQ(flat.to_vector()[3], -1);
  EXPECT_EQ(cell.to_vector()[0], -1);
  EXPECT_EQ(rows.storage(), x.storage());
}

TEST(Tensor, CopyFromConvertsIntoAView) {
  Tensor x = zeros({3, 2});
  x.slice(1, 2).copy_from(from_vector({1, 2}, std::vector<double>{1.5, 2.5}, {DType::kF64, {}}));
  EXPECT_EQ(x.to_vector(), (std::vector<double>{0, 0, 1.5, 2.5, 0, 0}));
  EXPECT_ERROR(x.copy_from(zeros({2, 3})), "[copy] expected shape [3, 2], got [2, 3]");
}

TEST(Tensor, PrintsItself) {
  std::ostringstream text;
  text << from_vector({2}, std::vector<double>{1, 2.5}) << " " << Tensor() << " " << zeros({9}, {DType::kU8, {}});
  EXPECT_EQ(text.str(), "Tensor([2], f32, cpu, [1, 2.5]) Tensor() Tensor([9], u8, cpu, [0, 0, 0, 0, 0, 0, 0, 0, …])");
}

TEST(TensorErrors, SizesOfZeroAndBelow) {
  EXPECT_ERROR(empty({2, 0}), "[empty] expected sizes of at least 1, got [2, 0]");
  EXPECT_ERROR(zeros({0}), "expected sizes of at least 1");
  EXPECT_ERROR(ones({-1, 2}), "expected sizes of at least 1");
  EXPECT_ERROR(from_vector({0}, std::vector<double>{}), "expected sizes of at least 1");
}

TEST(TensorErrors, NameTheProblem) {
  const Tensor x = zeros({2, 3});
  EXPECT_ERROR(x.data<double>(), "[data] expected dtype f64, got f32 [2, 3]");
  EXPECT_ERROR(Tensor().shape(), "undefined");
  EXPECT_ERROR(Tensor().detach(), "undefined");
  EXPECT_ERROR(x.size(2), "dimension 2 is out of range for [2, 3]");
  EXPECT_ERROR(from_vector({2}, std::vector<double>{1, 2, 3}), "[from_vector] expected 2 values");
  EXPECT_ERROR(parse_dtype("f16"), "expected f32, bf16, f64, u8, i32 or i64, got 'f16'");
  EXPECT_ERROR((Shape{1, 1, 1, 1, 1, 1}), "at most 5 dimensions");
  EXPECT_ERROR(zeros({1}, {DType::kI64, {}}).set_requires_grad(), "[requires_grad] expected a floating dtype");
}

TEST(TensorErrors, DevicesThatAreNotThere) {
  EXPECT_EQ(Device("cpu").str(), "cpu");
  EXPECT_EQ(Device("cuda").str(), "cuda:0");
  EXPECT_EQ(Device("cuda:3").str(), "cuda:3");
  for (const char* name : {"", "gpu", "cuda:", "cuda:-1", "cuda:1x", "cuda0", "CPU"})
    EXPECT_ERROR(Device{std::string_view(name)}, "[device] expected cpu, cuda or cuda:N");
  if (cuda::kBuilt) return;  // CudaErrors
  EXPECT_ERROR(zeros({1}, {DType::kF32, Device("cuda")}), "no back-end for device cuda:0");
}

TEST(LastOp, IsNamedByItsFunction) {
  EXPECT_EQ(op_name("fulcrum::Tensor fulcrum::conv2d(const fulcrum::Tensor&, const fulcrum::Tensor&)"), "conv2d");
  EXPECT_EQ(op_name("fulcrum::conv2d(const fulcrum::Tensor&)::<lambda(const fulcrum::Tensor&, fulcrum::Needs)>"),
            "conv2d's gradient");
  EXPECT_EQ(op_name("fulcrum::Tensor fulcrum::{anonymous}::unary(const fulcrum::Tensor&) [with F = fulcrum::Relu]"),
            "unary [with F = Relu]");
  EXPECT_EQ(
      op_name(
          "auto fulcrum::(anonymous namespace)::unary(const Tensor &)::(anonymous class)::operator()(const Tensor &, "
          "Needs) const [F = fulcrum::Relu]"),
      "unary [F = Relu]'s gradient");
  EXPECT_EQ(op_name("fulcrum::Module::zero_grad()::<lambda(fulcrum::Tensor)>"), "Module::zero_grad");
  EXPECT_EQ(op_name("void fulcrum::Optimizer::step()"), "Optimizer::step");
}

TEST(Shapes, IndexFromBothEnds) {
  Shape s{2, 3, 4};
  EXPECT_EQ(s[-1], 4);
  EXPECT_EQ(s.numel(), 24);
  EXPECT_EQ(s.without(1), (Shape{2, 4}));
  EXPECT_EQ(Shape{}.numel(), 1);
  s.set(-3, 7);
  EXPECT_EQ(s.str(), "[7, 3, 4]");
  EXPECT_NE(s, (Shape{7, 3}));
}

// ---- bf16 ----

TEST(Bf16, RoundsToNearestEven) {
  const auto rounded = [](float x) { return static_cast<float>(bf16(x)); };
  EXPECT_EQ(rounded(1.0f), 1.0f);
  EXPECT_EQ(rounded(1.0f + 0x1p-8f), 1.0f);                       // a tie goes to the even neighbour below
  EXPECT_EQ(rounded(1.0f + 3 * 0x1p-8f), 1.0f + 2 * 0x1p-7f);     // and here to the one above
  EXPECT_EQ(rounded(1.0f + 0x1p-8f + 0x1p-20f), 1.0f + 0x1p-7f);  // just above a tie
  EXPECT_EQ(rounded(-1.0f - 3 * 0x1p-8f), -1.0f - 2 * 0x1p-7f);
  EXPECT_EQ(rounded(std::numeric_limits<float>::max()), std::numeric_limits<float>::infinity());
  EXPECT_EQ(rounded(-std::numeric_limits<float>::infinity()), -std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::signbit(rounded(-0.0f)));
  EXPECT_EQ(rounded(0x1p-133f), 0x1p-133f);  // the smallest subnormal
}

TEST(Bf16, KeepsNanANan) {
  for (uint32_t bits : {0x7f800001u, 0x7fffffffu, 0xff800001u, 0xffffffffu, 0x7fc00000u})
    EXPECT_TRUE(std::isnan(static_cast<float>(bf16(std::bit_cast<float>(bits))))) << std::hex << bits;
}

TEST(Bf16, EveryValueSurvivesTheWayThroughF32) {
  for (uint32_t bits = 0; bits < 0x10000; bits++) {
    bf16 x;
    x.bits = static_cast<uint16_t>(bits);
    if (std::isnan(static_cast<float>(x))) continue;
    ASSERT_EQ(bf16(static_cast<float>(x)).bits, x.bits);
  }
}

TEST(Bf16, CastsOfTensorsRoundAlike) {
  const Tensor x = random_tensor({1000}, 1, -3, 3, DType::kF32), y = x.to(DType::kBf16);
  for (int64_t i = 0; i < x.numel(); i++) ASSERT_EQ(y.data<bf16>()[i].bits, bf16(x.data<float>()[i]).bits);
}

// ---- memory ----

TEST(Memory, BlocksAreAlignedAndCounted) {
  const MemoryStats before = memory_stats(Device());
  {
    const Tensor a = empty({1000}), b = empty({3, 7, 11});
    for (const Tensor& t : {a, b}) EXPECT_EQ(reinterpret_cast<uintptr_t>(t.raw()) % 256, 0u);
    EXPECT_GE(memory_stats(Device()).allocated, before.allocated + a.bytes() + b.bytes());
    EXPECT_LE(memory_stats(Device()).allocated, before.allocated + 2 * (a.bytes() + b.bytes()));
  }
  const MemoryStats after = memory_stats(Device());
  EXPECT_EQ(after.allocated, before.allocated);
  EXPECT_GE(after.reserved, after.allocated);
}

TEST(Memory, FreedBlocksAreHandedOutAgain) {
  const void* first = empty({12345}).raw();
  const MemoryStats before = memory_stats(Device());
  EXPECT_EQ(empty({12345}).raw(), first);
  // A slightly smaller batch finds the block, too.
  EXPECT_EQ(empty({12300}).raw(), first);
  EXPECT_EQ(memory_stats(Device()).system_requests, before.system_requests);
}

TEST(Memory, PeakAndCache) {
  empty_cache(Device());
  const MemoryStats start = memory_stats(Device());
  EXPECT_EQ(start.reserved, start.allocated);
  reset_peak_memory(Device());
  { const Tensor a = empty({1 << 20}), b = empty({1 << 20}); }
  const MemoryStats after = memory_stats(Device());
  EXPECT_EQ(after.peak, start.allocated + (size_t{8} << 20));
  EXPECT_EQ(after.reserved, start.reserved + (size_t{8} << 20));
  EXPECT_EQ(after.system_requests, start.system_requests + 2);
  empty_cache(Device());
  EXPECT_EQ(memory_stats(Device()).reserved, start.reserved);
}

TEST(Memory, WhatIsFreeGoesBackBeforeASystemWithoutMemoryIsAnError) {
  { const Tensor a = empty({1 << 20}); }
  EXPECT_GT(memory_stats(Device()).reserved, memory_stats(Device()).allocated);
  EXPECT_THROW(empty({int64_t{1} << 52}), OutOfMemory);
  EXPECT_EQ(memory_stats(Device()).reserved, memory_stats(Device()).allocated);
}

// ---- numbers beside tensors ----

TEST(Numbers, StandOnEitherSide) {
  const Tensor x = from_vector({2}, {2, 4}, {DType::kF64, {}}).set_requires_grad();
  EXPECT_EQ((1 - x).to_vector(), (std::vector<double>{-1, -3}));
  EXPECT_EQ((1 + x).to_vector(), (std::vector<double>{3, 5}));
  EXPECT_EQ((1 / x).to_vector(), (std::vector<double>{0.5, 0.25}));
  EXPECT_EQ((x / 3).to_vector(), (std::vector<double>{2 / 3.0, 4 / 3.0}));
  EXPECT_EQ(maximum(x, 3).to_vector(), (std::vector<double>{3, 4}));
  EXPECT_EQ(minimum(x, 3).to_vector(), (std::vector<double>{2, 3}));
  sum(8 / x + (5 - x) * 2.0).backward();
  EXPECT_EQ(x.grad().to_vector(), (std::vector<double>{-4, -2.5}));
}

TEST(Numbers, AreNotRoundedToBf16) {
  for (const int64_t n : {3, 61, 75, 99, 121, 150, 2000}) EXPECT_EQ(mean(ones({n}, {DType::kBf16, {}})).item(), 1) << n;
  const Tensor x = full({1}, 3, {DType::kBf16, {}});
  EXPECT_EQ((x * 0.1).item(), static_cast<double>(static_cast<float>(bf16(0.3F))));
  EXPECT_EQ((x + 1.01).dtype(), DType::kBf16);
}

TEST(Numbers, ClampPassesTheGradientOfWhatIsInside) {
  const Tensor x = from_vector({4}, {-2, 0, 1, 3}).set_requires_grad();
  const Tensor y = clamp(x, 0, 2);
  EXPECT_EQ(y.to_vector(), (std::vector<double>{0, 0, 1, 2}));
  sum(y).backward();
  EXPECT_EQ(x.grad().to_vector(), (std::vector<double>{0, 0, 1, 0}));
  EXPECT_ERROR(clamp(x, 1, 0), "[clamp] expected low <= high, got 1 and 0");
}

TEST(Numbers, IntegersAreComparedButNotMultiplied) {
  const Tensor a = labels_of({1, 2, 3}), b = labels_of({1, 5, 3});
  EXPECT_EQ(mean(eq(a, b)).item(), static_cast<double>(2.0F / 3));
  EXPECT_ERROR(eq(a, ones({3})), "[eq] expected one dtype, got i64 and f32");
  const Tensor square = labels_of({1, 2, 3, 4}).reshape({2, 2});
  EXPECT_ERROR(matmul(square, square), "[matmul] expected a floating dtype, got i64");
  EXPECT_ERROR(linear(square, square), "[linear] expected a floating dtype, got i64");
}

TEST(Numbers, OfIntegersArePrintedWhole) {
  std::ostringstream text;
  text << labels_of({1234567, (int64_t{1} << 53) + 1});
  EXPECT_EQ(text.str(), "Tensor([2], i64, cpu, [1234567, 9007199254740993])");
}

TEST(Numbers, ArgmaxTakesANan) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(argmax(from_vector({2, 3}, {1, nan, 3, 4, 4, 2})).to_vector(), (std::vector<double>{1, 0}));
}

TEST(Numbers, AShapeBeyondAllMemoryIsAnError) {
  EXPECT_ERROR(ones({4}).reshape({int64_t{1} << 33, int64_t{1} << 33, -1}), "[reshape] expected 4 elements");
}

TEST(Numbers, SoftmaxOverADimension) {
  const Tensor x = random_tensor({3, 4, 5}, 9, -2, 2, DType::kF64);
  for (int dim : {0, 1, -2})
    EXPECT_TRUE(all_close(softmax(x, dim), transpose(softmax(transpose(x, dim, -1)), dim, -1), {0, 1e-12}));
  EXPECT_TRUE(all_close(sum(exp(log_softmax(x, 0)), {0}), ones({4, 5}, {DType::kF64, {}}), {0, 1e-12}));
  EXPECT_EQ(from_vector({2}, std::vector<float>{1, 2}).dtype(), DType::kF32);
}

TEST(Memory, BorrowedMemoryIsSharedAndKeptByItsOwner) {
  auto numbers = std::make_shared<std::vector<float>>(std::vector<float>{1, 2, 3});
  const std::weak_ptr<std::vector<float>> watch = numbers;
  const size_t before = memory_stats(Device()).allocated;
  Tensor t(Storage::borrow(Device(), numbers->data(), 12, numbers), 0, {3}, DType::kF32);
  EXPECT_EQ(memory_stats(Device()).allocated, before);
  (*numbers)[1] = 5;
  EXPECT_EQ(t.to_vector(), (std::vector<double>{1, 5, 3}));
  EXPECT_FALSE(t.is_unique()) << "the owner sees it, too";
  numbers.reset();
  EXPECT_FALSE(watch.expired());
  t = {};
  EXPECT_TRUE(watch.expired());
  EXPECT_THROW(Storage::borrow(Device(), nullptr, 12, nullptr), Error);
}

TEST(Memory, TheSystemRefusingIsAnError) {
  EXPECT_ERROR(empty({int64_t{1} << 45}), "[memory] the system has no");
  EXPECT_NO_THROW(empty({16}));
}

TEST(Memory, ASteadyTrainingStepAsksTheSystemForNothing) {
  Tensor w = random_tensor({8, 3, 3, 3}, 1, -1, 1, DType::kF32).set_requires_grad();
  const Tensor x = random_tensor({4, 12, 12, 3}, 2, -1, 1, DType::kF32);
  const auto step = [&] {
    const Tensor y = batch_norm(conv2d(x, w, {}, {.padding = 1}), {}, {.relu = true});
    mean(cross_entropy(global_avg_pool2d(y), labels_of({0, 1, 2, 3}))).backward();
    w.set_grad({});
  };
  for (int i = 0; i < 3; i++) step();
  const MemoryStats before = memory_stats(Device());
  for (int i = 0; i < 10; i++) step();
  const MemoryStats after = memory_stats(Device());
  EXPECT_EQ(after.system_requests, before.system_requests);
  EXPECT_EQ(after.allocated, before.allocated) << "a graph was not freed";
}

}  // namespace
}  // namespace fulcrum::testing
