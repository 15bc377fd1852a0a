// cuDNN without a device: are there plans, under the rules that core/cuda/cudnn.cpp sets for them
// (reproducible, f32 sums, no TF32 unless asked, bounded memory), for every convolution that the
// networks compute? The convolutions are seen as the networks compute them on the CPU.
#include <gtest/gtest.h>

#include <dlfcn.h>

#include <set>

#include <fulcrum/core/cuda/cudnn.h>
#include <fulcrum/core/cuda/library.h>
#include <fulcrum/layers/imagenet_resnet.h>
#include <fulcrum/layers/models.h>
#include <fulcrum/layers/resnet.h>

namespace fulcrum {
namespace {
std::set<Conv2dGeometry>* seen = nullptr;
}  // namespace

// The linker calls the second where the engine calls Cpu::conv2d (CMakeLists.txt).
void real_conv2d(Tensor&, const Tensor&, const Tensor&, const Tensor&, const Conv2dGeometry&) __asm__(
    "__real__ZN7fulcrum3Cpu6conv2dERNS_6TensorERKS1_S4_S4_RKNS_14Conv2dGeometryE");
void observed_conv2d(Tensor&, const Tensor&, const Tensor&, const Tensor&, const Conv2dGeometry&) __asm__(
    "__wrap__ZN7fulcrum3Cpu6conv2dERNS_6TensorERKS1_S4_S4_RKNS_14Conv2dGeometryE");

void observed_conv2d(Tensor& y, const Tensor& x, const Tensor& w, const Tensor& bias, const Conv2dGeometry& g) {
  if (seen) seen->insert(g);
  real_conv2d(y, x, w, bias, g);
}

namespace testing {
namespace {

using cuda::ConvPass;
using cuda::ConvProblem;

// What cuDNN asks of a device; the rest of its JSON is the same for all of them.
struct Gpu {
  const char* name;
  int version, multiprocessors;
  int shared_per_block, shared_per_sm, l2;
};
constexpr Gpu kGpus[] = {{"A100", 800, 108, 166912, 167936, 41943040},
                         {"H200", 900, 132, 232448, 233472, 62914560},
                         {"B200", 1000, 148, 232448, 233472, 132644864}};

std::string properties(const Gpu& gpu) {
  return concat_text(
      R"({"cudaDeviceId": 0, "deviceVer": )", gpu.version,
      R"(, "driverVer": 13000, "rtVer": 13000, "cudartVer": 13000, "maxGridSize": [2147483647, 65535, 65535], )",
      R"("maxBlockSize": [1024, 1024, 64], "regsPerBlock": 65536, "multiProcessorCount": )", gpu.multiprocessors,
      R"(, "warpSize": 32, "maxSharedMemoryPerBlock": 49152, "maxSharedMemoryPerBlockOptin": )", gpu.shared_per_block,
      R"(, "maxSharedMemoryPerSM": )", gpu.shared_per_sm,
      R"(, "reservedSharedMemoryPerBlock": 1024, "maxRegistersPerSM": 65536, "maxCtasPerSM": 32, )",
      R"("maxThreadsPerBlock": 1024, "maxThreadsPerSM": 2048, "pciDeviceId": 9013, "isTccDriver": 0, )",
      R"("supportCoopLaunch": 1, "smClockRateKHz": 1980000, "memClockRateKHz": 3201000, "l2CacheSize": )", gpu.l2,
      R"(, "totalGlobalMem": 150000000000, "deviceName": "NVIDIA )", gpu.name, R"(", "memBusWidth": 6144})");
}

std::set<Conv2dGeometry> convolutions_of(Module& model, const Shape& image) {
  std::set<Conv2dGeometry> convolutions;
  seen = &convolutions;
  model(zeros(image));
  seen = nullptr;
  return convolutions;
}

ConvProblem problem_of(ConvPass pass, DType dtype, Conv2dGeometry g, int64_t batch) {
  g.n = batch;
  return {pass, dtype, /*bias=*/false, /*tf32=*/false, g};
}

class CudnnDeviceless : public ::testing::TestWithParam<Gpu> {
 protected:
  void SetUp() override {
    if (!::dlopen("libcuda.so.1", RTLD_NOW)) GTEST_SKIP() << "no driver and no stub of it: " << ::dlerror();
    try {
      cuda::cudnn_version();
    } catch (const Error& e) {
      GTEST_SKIP() << e.what();
    }
  }

  size_t count(const ConvProblem& problem) const {
    return cuda::conv_plan_names(problem, properties(GetParam())).size();
  }

  void expect_plans(const std::set<Conv2dGeometry>& convolutions, const std::vector<int64_t>& batches) const {
    for (const Conv2dGeometry& g : convolutions)
      for (int64_t batch : batches)
        for (DType dtype : {DType::kF32, DType::kBf16})
          for (ConvPass pass : {ConvPass::kForward, ConvPass::kDataGradient, ConvPass::kWeightGradient}) {
            const ConvProblem problem = problem_of(pass, dtype, g, batch);
            EXPECT_GT(count(problem), 0u) << describe(problem);
          }
  }
};

TEST_P(CudnnDeviceless, PlansForResnet32) {
  Resnet net = resnet32();
  const auto convolutions = convolutions_of(net, {1, 32, 32, 3});
  EXPECT_EQ(convolutions.size(), 6u);
  expect_plans(convolutions, {128, 512});
}

TEST_P(CudnnDeviceless, PlansForResnet50) {
  ImagenetResnet net = resnet50();
  const auto convolutions = convolutions_of(net, {1, 224, 224, 3});
  EXPECT_EQ(convolutions.size(), 23u);
  expect_plans(convolutions, {64, 256});
}

// Every other network by name.
TEST_P(CudnnDeviceless, PlansForEveryModel) {
  static const std::set<Conv2dGeometry> all = [] {
    std::set<Conv2dGeometry> found;
    for (const std::string& name : model_names()) {
      if (name == "mlp" || name == "resnet32" || name == "resnet50") continue;
      const std::unique_ptr<Module> net = make_model(name, {.classes = 10});
      net->eval();  // one image is no batch to normalise by
      const int64_t side = dynamic_cast<ImagenetResnet*>(net.get()) ? 224 : 32;
      found.merge(convolutions_of(*net, {1, side, side, 3}));
    }
    return found;
  }();
  EXPECT_GT(all.size(), 30u);
  expect_plans(all, {32});
}

TEST_P(CudnnDeviceless, PlansForUnusualConvolutions) {
  const std::set<Conv2dGeometry> unusual{
      // n h w c, out h w c, kernel, stride, padding, dilation, groups
      {4, 9, 9, 1, 9, 9, 5, 3, 3, 1, 1, 1, 1, 1, 1, 1},            // one channel
      {4, 115, 115, 16, 112, 112, 64, 4, 4, 1, 1, 0, 0, 1, 1, 1},  // a ResNet's first on blocks of 2x2 pixels
      {5, 9, 11, 3, 4, 5, 7, 3, 3, 2, 2, 1, 1, 2, 2, 1},           // odd sizes, dilated
      {4, 14, 14, 32, 14, 14, 32, 3, 3, 1, 1, 1, 1, 1, 1, 32},     // depthwise
      {4, 14, 14, 6, 14, 14, 9, 3, 3, 1, 1, 1, 1, 1, 1, 3}};       // groups of odd channels
  expect_plans(unusual, {4});
  for (const Conv2dGeometry& g : unusual) {
    const ConvProblem f64 = problem_of(ConvPass::kWeightGradient, DType::kF64, g, 4);
    EXPECT_GT(count(f64), 0u) << describe(f64);
    if (g.groups == g.c) continue;  // sm_100 has no bf16 plan for depthwise with a bias: two steps
    for (DType dtype : {DType::kF32, DType::kBf16, DType::kF64}) {
      ConvProblem with_bias = problem_of(ConvPass::kForward, dtype, g, 4);
      with_bias.bias = true;
      EXPECT_GT(count(with_bias), 0u) << describe(with_bias);
    }
  }
}

// Without TF32 the tensor cores' plans are left out, and only those.
TEST_P(CudnnDeviceless, Tf32AddsPlans) {
  const Conv2dGeometry g{128, 32, 32, 16, 32, 32, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1};
  ConvProblem problem{ConvPass::kForward, DType::kF32, false, false, g};
  const auto exact = cuda::conv_plan_names(problem, properties(GetParam()));
  problem.tf32 = true;
  const auto all = cuda::conv_plan_names(problem, properties(GetParam()));
  EXPECT_GT(all.size(), exact.size());
  for (const std::string& name : exact) EXPECT_EQ(std::count(all.begin(), all.end(), name), 1) << name;
  EXPECT_NE(all.front(), exact.front());
}

// A plan is stored by its name, and found again by it: names must be unique and stay the same.
TEST_P(CudnnDeviceless, NamesAreStable) {
  const Conv2dGeometry g{64, 56, 56, 64, 56, 56, 64, 3, 3, 1, 1, 1, 1, 1, 1, 1};
  const ConvProblem problem{ConvPass::kWeightGradient, DType::kBf16, false, false, g};
  const auto names = cuda::conv_plan_names(problem, properties(GetParam()));
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), names.size());
  EXPECT_EQ(names, cuda::conv_plan_names(problem, properties(GetParam())));
}

TEST(CudnnLibrary, WhatIsMissingIsNamed) {
  try {
    cuda::open_library("cuDNN", "libno-such-library.so", 9, "/no/folder");
    FAIL();
  } catch (const Error& e) {
    const std::string message = e.what();
    EXPECT_NE(message.find("[cuda] expected cuDNN 9 (libno-such-library.so.9) on the library path, got: "),
              std::string::npos)
        << message;
  }
}

INSTANTIATE_TEST_SUITE_P(Gpus, CudnnDeviceless, ::testing::ValuesIn(kGpus),
                         [](const auto& gpu) { return std::string(gpu.param.name); });

}  // namespace
}  // namespace testing
}  // namespace fulcrum
