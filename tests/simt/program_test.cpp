// `fulcrum train --device cuda` and `bench`, on the emulated device or on a GPU: recorded steps against eager ones,
// stopping and resuming, losses and weights that are not finite.
#include <regex>

#include <fulcrum/data/dataset.h>
#include <fulcrum/data/pack.h>

#include "image_testing.h"
#include "program_testing.h"

namespace fulcrum::testing {
namespace {

// Few steps of few images, since every thread of a kernel is a fiber.
Flags cuda_flags(const TempDir& dir, const std::string& run, const Flags& more = {}) {
  return train_flags(dir, run,
                     merged({"--device", "cuda", "-b", "4", "--epochs", "2", "--set", "train.limit_batches=6"}, more));
}

class SimtProgram : public ::testing::Test {
 protected:
  void SetUp() override {
    const Outcome info = run_program({"info"});
    if (info.out.find("cuda:0") == std::string::npos) GTEST_SKIP() << info.out;
    emulated = info.out.find("SIMT emulator") != std::string::npos;
    write_data(dir / "data");
  }
  TempDir dir;
  bool emulated = false;
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

TEST_F(SimtProgram, ARecordedStepRecomputesToTheSameBits) {
  const Flags flags = {"--opt",    "absgd",
                       "--lambda", "2",
                       "--set",    "model.dropout=0.2",
                       "--epochs", "1",
                       "--set",    "train.limit_batches=4"};
  ASSERT_EQ(run_program(cuda_flags(dir, "kept", flags)).code, 0);
  const Outcome recomputed = run_program(cuda_flags(dir, "recomputed", merged(flags, {"--recompute"})));
  ASSERT_EQ(recomputed.code, 0) << recomputed.err;
  EXPECT_EQ(metrics_of(dir / "kept"), metrics_of(dir / "recomputed"));
  expect_same_tensors(dir / "kept" / "last.safetensors", dir / "recomputed" / "last.safetensors");
}

TEST_F(SimtProgram, MixesInARecordedStepAsInAnEagerOne) {
  const Flags mix = {"--set", "data.mixup=0.5", "--set", "data.cutmix=1", "--opt", "absgd", "--lambda", "2"};
  ASSERT_EQ(run_program(cuda_flags(dir, "recorded", mix)).code, 0);
  Flags eager = cuda_flags(dir, "eager", mix);
  eager.push_back("--no-graph");
  ASSERT_EQ(run_program(eager).code, 0);
  EXPECT_EQ(metrics_of(dir / "recorded"), metrics_of(dir / "eager"));
  expect_same_tensors(dir / "recorded" / "last.safetensors", dir / "eager" / "last.safetensors");
  ASSERT_EQ(run_program(cuda_flags(dir, "cpu", merged({"--device", "cpu"}, mix))).code, 0);
  const auto gpu = metrics_of(dir / "recorded"), cpu = metrics_of(dir / "cpu");
  for (size_t i = 0; i < gpu.size(); i++) {
    const double expected = cpu[i]["train"]["loss"].get<double>();
    EXPECT_NEAR(gpu[i]["train"]["loss"].get<double>(), expected, 1e-3 * expected);
  }
}

// 70 samples in batches of 4: two are left, for which no step is recorded.
TEST_F(SimtProgram, TheLastBatchOfAnEpochRunsEagerlyAndSaysSo) {
  const Flags few = {"--set",    "train.limit_batches=0",
                     "--set",    "data.n_max=11",
                     "--set",    "data.imb_type=step",
                     "--set",    "data.imb_factor=0.3",
                     "--opt",    "absgd",
                     "--lambda", "2",
                     "--epochs", "1"};
  const Outcome recorded = run_program(cuda_flags(dir, "recorded", few));
  ASSERT_EQ(recorded.code, 0) << recorded.err;
  EXPECT_NE(recorded.err.find("the last batch of an epoch, "), std::string::npos) << recorded.err;
  Flags eager = cuda_flags(dir, "eager", few);
  eager.push_back("--no-graph");
  const Outcome plain = run_program(eager);
  ASSERT_EQ(plain.code, 0) << plain.err;
  EXPECT_EQ(plain.err.find("the last batch of an epoch, "), std::string::npos) << plain.err;
  EXPECT_EQ(metrics_of(dir / "recorded"), metrics_of(dir / "eager"));
  expect_same_tensors(dir / "recorded" / "last.safetensors", dir / "eager" / "last.safetensors");
}

TEST_F(SimtProgram, AccumulationRunsEagerlyAndSaysSo) {
  const Outcome got = run_program(cuda_flags(dir, "run", {"--accumulate", "2", "--epochs", "1"}));
  ASSERT_EQ(got.code, 0) << got.err;
  EXPECT_NE(got.err.find("train.accumulate > 1: steps run eagerly"), std::string::npos) << got.err;
}

#ifdef FULCRUM_WITH_PNG
// Images that are decoded batch by batch reach the recorded step through the copy stream.
TEST_F(SimtProgram, ImagesThatAreNotOnTheDeviceReachTheRecordedStep) {
  uint64_t seed = 0;
  for (const char* part : {"train", "test"})
    for (const char* name : {"a", "b"})
      for (int i = 0; i < 10; i++) {
        const Bytes file = png_file(image_of(8, 8, ++seed));
        write_text(dir / "images" / part / name / concat_text(i, ".png"), {file.begin(), file.end()});
      }
  const Flags folder = {"--data-dir",        dir / "images", "--dataset",      "folder",   "--set",
                        "data.image_size=8", "--set",        "data.flip=true", "--epochs", "1"};
  const Outcome recorded = run_program(cuda_flags(dir, "recorded", folder));
  ASSERT_EQ(recorded.code, 0) << recorded.err;
  Flags eager = cuda_flags(dir, "eager", folder);
  eager.push_back("--no-graph");
  ASSERT_EQ(run_program(eager).code, 0);
  EXPECT_EQ(metrics_of(dir / "recorded"), metrics_of(dir / "eager"));
  expect_same_tensors(dir / "recorded" / "last.safetensors", dir / "eager" / "last.safetensors");
  ASSERT_EQ(run_program(cuda_flags(dir, "cpu", merged(folder, {"--device", "cpu"}))).code, 0);
  const double expected = metrics_of(dir / "cpu")[0]["train"]["loss"].get<double>();
  EXPECT_NEAR(metrics_of(dir / "recorded")[0]["train"]["loss"].get<double>(), expected, 1e-3 * expected);
}
#endif

// A pack is decoded already: it goes to the device as a whole.
TEST_F(SimtProgram, APackIsOnTheDevice) {
  std::vector<double> pixels;
  std::vector<int64_t> labels;
  const Philox noise(kSeed, 5);
  for (int64_t i = 0; i < 40; i++) labels.push_back(i % 2);
  for (uint64_t i = 0; i < 40 * 8 * 8 * 3; i++) pixels.push_back(static_cast<double>(noise.below(i, 256)));
  const InMemoryDataset data(from_vector({40, 8, 8, 3}, pixels, {DType::kU8, {}}), labels, {"a", "b"});
  std::filesystem::create_directories(dir / "packed");
  for (const char* part : {"train.pack", "test.pack"}) save_pack(dir / "packed" / part, data);
  const Flags packed = {"--data-dir", dir / "packed", "--dataset", "pack", "--set", "data.flip=true", "--epochs", "1"};
  ASSERT_EQ(run_program(cuda_flags(dir, "recorded", packed)).code, 0);
  Flags eager = cuda_flags(dir, "eager", packed);
  eager.push_back("--no-graph");
  ASSERT_EQ(run_program(eager).code, 0);
  expect_same_tensors(dir / "recorded" / "last.safetensors", dir / "eager" / "last.safetensors");
  ASSERT_EQ(run_program(cuda_flags(dir, "cpu", merged(packed, {"--device", "cpu"}))).code, 0);
  const double expected = metrics_of(dir / "cpu")[0]["train"]["loss"].get<double>();
  EXPECT_NEAR(metrics_of(dir / "recorded")[0]["train"]["loss"].get<double>(), expected, 1e-3 * expected);
}

TEST_F(SimtProgram, FollowsTheCpu) {
  ASSERT_EQ(run_program(cuda_flags(dir, "gpu")).code, 0);
  ASSERT_EQ(run_program(cuda_flags(dir, "cpu", {"--device", "cpu"})).code, 0);
  const auto gpu = metrics_of(dir / "gpu"), cpu = metrics_of(dir / "cpu");
  ASSERT_EQ(gpu.size(), cpu.size());
  for (size_t i = 0; i < gpu.size(); i++) {
    const double expected = cpu[i]["train"]["loss"].get<double>();
    EXPECT_NEAR(gpu[i]["train"]["loss"].get<double>(), expected, 1e-3 * expected);
  }
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

TEST_F(SimtProgram, ALossThatIsNotFiniteNamesItsSamples) {
  std::vector<int64_t> white;
  for (int64_t i = 0; i < kTrainImages; i += 4) white.push_back(i);
  write_white(dir / "white", white);
  for (const char* precision : {"off", "bf16"}) {
    const Outcome got = run_program(cuda_flags(dir, precision, white_flags(dir / "white", {"--amp", precision})));
    EXPECT_EQ(got.code, 3) << got.err;
    const size_t at = got.err.find("; sample"), end = got.err.find(" of 4; the last good weights");
    ASSERT_TRUE(at != std::string::npos && end != std::string::npos) << got.err;
    std::istringstream numbers(got.err.substr(got.err.find(' ', at + 2), end));
    int64_t sample = -1;
    numbers >> sample;
    EXPECT_EQ(sample % 4, 0) << got.err;
  }
}

// After the same number of steps the loss has the same bits, however they were launched.
TEST_F(SimtProgram, BenchRunsTheSameStepsRecordedAndEager) {
  const auto bench = [](const Flags& more) {
    Flags flags{"bench", "--device", "cuda", "--model", "resnet8", "-b",
                "2",     "--size",   "8",    "--steps", "2",       "--no-profile"};
    flags.insert(flags.end(), more.begin(), more.end());
    const Outcome got = run_program(flags);
    EXPECT_EQ(got.code, 0) << got.err;
    return got.code == 0 ? json::parse(got.out.substr(got.out.find('{'))) : json::object();
  };
  const json recorded = bench({}), eager = bench({"--no-graph"});
  EXPECT_EQ(recorded["graph"], true);
  EXPECT_EQ(eager["graph"], false);
  EXPECT_EQ(recorded["loss"], eager["loss"]);
  EXPECT_EQ(recorded["steps"], 2);
  EXPECT_EQ(recorded["system_requests"], 0);
  EXPECT_GT(recorded["device_peak_mb"], 0);
  EXPECT_EQ(recorded["device"], "cuda:0");
}

TEST_F(SimtProgram, BenchTellsFlagsThatDoNotGoTogether) {
  expect_refused(run_program({"bench", "--tf32"}), 2, {"--tf32", "--device cuda"});
  expect_refused(run_program({"bench", "--device", "cuda", "--no-graph", "--steps-per-graph", "2"}), 2,
                 {"--steps-per-graph", "got 2"});
  expect_refused(run_program({"bench", "--device", "cuda", "--steps", "3", "--steps-per-graph", "2"}), 2,
                 {"--steps", "multiple", "got 3"});
}

// ---- a device that fails ----

// On the emulator, launch number FULCRUM_SIMT_FAIL_AT fails, and the device has only FULCRUM_SIMT_MEMORY bytes.
TEST_F(SimtProgram, AKernelThatFailsIsNamedWithItsShapesAndLosesNothing) {
  if (!emulated) GTEST_SKIP() << "kernels fail on the emulator alone";
  ASSERT_EQ(run_program(cuda_flags(dir, "run", {"--epochs", "1"})).code, 0);
  const auto before = load_tensors(dir / "run" / "last.safetensors").tensors;
  const Outcome got = run_program(cuda_flags(dir, "run", {"--resume", "auto"}), {}, {"FULCRUM_SIMT_FAIL_AT=40"});
  EXPECT_EQ(got.code, 1) << got.err;
  const std::regex message(
      R"(\[cuda\] .*; at the latest in [\w:]+('s gradient)? of f32 \[[\d, ]*\]; CUDA_LAUNCH_BLOCKING=1)");
  EXPECT_TRUE(std::regex_search(got.err, message)) << got.err;
  for (const auto& [name, tensor] : load_tensors(dir / "run" / "last.safetensors").tensors)
    EXPECT_TRUE(same_bits(tensor, before.at(name))) << name;
}

TEST_F(SimtProgram, ADeviceWithoutMemoryEndsTheRunWithAHint) {
  if (!emulated) GTEST_SKIP() << "only the emulator has as little";
  const Outcome got = run_program(cuda_flags(dir, "run"), {}, {"FULCRUM_SIMT_MEMORY=2000000"});
  EXPECT_EQ(got.code, 1) << got.err;
  for (const char* part : {"[memory] cuda:0 has no ",
                           "in use: ", "free on the device: ", "a smaller batch, --recompute or --amp bf16 needs less"})
    EXPECT_NE(got.err.find(part), std::string::npos) << got.err;
}

TEST_F(SimtProgram, AnEvaluationThatDoesNotFitGoesOnInHalves) {
  if (!emulated) GTEST_SKIP() << "only the emulator has as little";
  const Flags flags = {"--epochs", "1", "--set", "train.limit_batches=4"};
  ASSERT_EQ(run_program(cuda_flags(dir, "whole", flags)).code, 0);
  // Enough for the recorded step of four images, and not for all test images at once.
  const Outcome got = run_program(cuda_flags(dir, "halves", flags), {}, {"FULCRUM_SIMT_MEMORY=6000000"});
  ASSERT_EQ(got.code, 0) << got.err;
  const json whole = metrics_of(dir / "whole").back(), halves = metrics_of(dir / "halves").back();
  EXPECT_EQ(whole["train"], halves["train"]);
  EXPECT_NEAR(whole["test"]["loss"], halves["test"]["loss"].get<double>(), 1e-5);
}

// On the emulator a kernel that is started on the first device cannot reach the second one's memory.
TEST_F(SimtProgram, TheSecondDeviceTrainsToTheSameBits) {
  if (!emulated) GTEST_SKIP() << "how many devices there are is up to the emulator alone";
  const Flags flags = {"--opt", "absgd", "--lambda", "2", "--epochs", "1", "--set", "train.limit_batches=4"};
  ASSERT_EQ(run_program(cuda_flags(dir, "first", flags)).code, 0);
  const Outcome second =
      run_program(cuda_flags(dir, "second", merged(flags, {"--device", "cuda:1"})), {}, {"FULCRUM_SIMT_DEVICES=2"});
  ASSERT_EQ(second.code, 0) << second.err;
  EXPECT_EQ(metrics_of(dir / "first"), metrics_of(dir / "second"));
  expect_same_tensors(dir / "first" / "last.safetensors", dir / "second" / "last.safetensors");
}

TEST_F(SimtProgram, ADeviceThatIsNotThere) {
  expect_refused(run_program(cuda_flags(dir, "run", {"--device", "cuda:3"})), 1, {"got cuda:3"});
}

}  // namespace
}  // namespace fulcrum::testing
