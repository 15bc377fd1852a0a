// A device that is nearly full. The emulator has FULCRUM_SIMT_MEMORY bytes where that is set: Simt_memory sets 6,000,000.
#include <fulcrum/core/replay.h>

#include "device_testing.h"

namespace fulcrum::testing {
namespace {

constexpr int64_t kMiB = 1 << 20;

class CudaMemory : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!std::getenv("FULCRUM_SIMT_MEMORY")) GTEST_SKIP() << "needs a device of 6,000,000 bytes: the emulator's";
  }
  void TearDown() override { empty_cache(gpu_); }
  Tensor bytes(int64_t count) const { return empty({count}, {DType::kU8, gpu_}); }
  const Device gpu_ = Device("cuda");
};

TEST_F(CudaMemory, ErrorsSayWhatIsLeft) {
  const Tensor most = bytes(4 * kMiB);
  try {
    bytes(3 * kMiB);
    FAIL() << "there is not as much";
  } catch (const OutOfMemory& e) {
    for (const char* part : {"[memory] cuda:0 has no 3145728 bytes left", "in use: 4194304",
                             "free on the device: ", "a smaller batch, --recompute or --amp bf16 needs less"})
      EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
  }
}

// The first two calls record nothing, so that the memory of what ran before, such as an evaluation, may be given back.
TEST_F(CudaMemory, ANewStepTakesWhatTheCommonPoolKeeps) {
  bytes(4 * kMiB);
  ASSERT_EQ(memory_stats(gpu_).allocated, 0u);
  int64_t size = 5 * kMiB;
  Replay step(gpu_, [&] { bytes(size); });
  step();
  // Nor does a step that begins anew need the memory of its last recording.
  step.restart();
  size = 3 * kMiB;
  for (int call = 0; call < 3; call++) step();
  EXPECT_TRUE(step.recorded());
}

// What a recorded step uses stays where it is.
TEST_F(CudaMemory, ARecordedStepKeepsItsMemory) {
  Replay step(gpu_, [&] { bytes(4 * kMiB); });
  for (int call = 0; call < 3; call++) step();
  ASSERT_TRUE(step.recorded());
  EXPECT_THROW(bytes(3 * kMiB), OutOfMemory);
  step.eagerly([&] { bytes(3 * kMiB); });  // in the step's memory
  EXPECT_THROW(step.eagerly([&] { bytes(5 * kMiB); }), OutOfMemory);
  step();
}

}  // namespace
}  // namespace fulcrum::testing
