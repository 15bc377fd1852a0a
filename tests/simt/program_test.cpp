// `fulcrum train --device cuda` on the emulated device: recorded steps against eager ones, stopping and
// going on, and what is not finite.
#include "program_testing.h"

namespace fulcrum::testing {
namespace {

// Small: every thread of a kernel is a fiber.
Flags cuda_flags(const TempDir& dir, const std::string& run, const Flags& more = {}) {
  return train_flags(dir, run, merged({"--device", "cuda", "-b", "4", "--epochs", "2", "--set",
                                       "train.limit_batches=6"}, more));
}

class SimtProgram : public ::testing::Test {
 protected:
  void SetUp() override { write_data(dir / "data"); }
  TempDir dir;
};

TEST_F(SimtProgram, ARecordedRunEqualsAnEagerOneBitForBit) {
  const Outcome recorded = run_program(cuda_flags(dir, "recorded", {"--opt", "absgd", "--lambda", "2"}));
  ASSERT_EQ(recorded.code, 0) << recorded.err;
  Flags eager = cuda_flags(dir, "eager", {"--opt", "absgd", "--lambda", "2"});
  eager.push_back("--no-graph");
  const Outcome plain = run_program(eager);
  ASSERT_EQ(plain.code, 0) << plain.err;
  EXPECT_EQ(metrics_of(dir / "recorded"), metrics_of(dir / "eager"));
  expect_same_tensors(dir / "recorded" / "last.safetensors", dir / "eager" / "last.safetensors");
}

TEST_F(SimtProgram, FollowsTheCpu) {
  ASSERT_EQ(run_program(cuda_flags(dir, "gpu")).code, 0);
  ASSERT_EQ(run_program(cuda_flags(dir, "cpu", {"--device", "cpu"})).code, 0);
  const auto gpu = metrics_of(dir / "gpu"), cpu = metrics_of(dir / "cpu");
  ASSERT_EQ(gpu.size(), cpu.size());
  for (size_t i = 0; i < gpu.size(); i++)
    EXPECT_NEAR(gpu[i]["train"]["loss"].get<double>(), cpu[i]["train"]["loss"].get<double>(), 1e-3);
}

TEST_F(SimtProgram, StopsAndGoesOnWithTheSameBits) {
  ASSERT_EQ(run_program(cuda_flags(dir, "whole")).code, 0);
  Program stopped(cuda_flags(dir, "parts"));
  ASSERT_TRUE(stopped.wait_for("epoch   1/2  loss")) << stopped.err();
  stopped.signal(SIGTERM);
  EXPECT_EQ(stopped.wait(), 143) << stopped.err();
  const Outcome resumed = run_program(cuda_flags(dir, "parts", {"--resume", "auto"}));
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  expect_same_run(dir / "whole", dir / "parts");
}

TEST_F(SimtProgram, WhatIsNotFiniteStopsTheRunWithTheLastGoodWeights) {
  const Outcome got = run_program(cuda_flags(dir, "run", {"--lr", "1e30"}));
  EXPECT_EQ(got.code, 3) << got.err;
  EXPECT_NE(got.err.find("non-finite"), std::string::npos) << got.err;
  for (const auto& [name, tensor] : load_tensors(dir / "run" / "last.safetensors").tensors)
    if (name.ends_with("weight")) {
      for (double v : tensor.to_vector()) ASSERT_TRUE(std::isfinite(v)) << name;
    }
}

TEST_F(SimtProgram, ADeviceThatIsNotThere) {
  expect_refused(run_program(cuda_flags(dir, "run", {"--device", "cuda:3"})), 1, {"got cuda:3"});
}

}  // namespace
}  // namespace fulcrum::testing
