// Settings of `fulcrum` that contradict each other, or what a run has done already.
#include "program_testing.h"

namespace fulcrum::testing {
namespace {

class ProgramSettings : public ProgramSuite {
 protected:
  static void SetUpTestSuite() {
    ProgramSuite::SetUpTestSuite();
    const Outcome run = ProgramSuite::train("run", {"--epochs", "2", "-b", "160"});
    ASSERT_EQ(run.code, 0) << run.err;
  }
  static Outcome dry_run(Flags more) {
    more.emplace_back("--dry-run");
    return ProgramSuite::train("dry", more);
  }
};

TEST_F(ProgramSettings, TwoValuesForOneKeyAreRefused) {
  expect_refused(dry_run({"--lr", "0.2", "--set", "optim.lr=0.1"}), 2,
                 {"--lr 0.2 and --set optim.lr=0.1 set the same key: give one"});
  expect_refused(dry_run({"--set", "optim.lr=0.1", "--lr", "0.2"}), 2,
                 {"--lr 0.2 and --set optim.lr=0.1 set the same key: give one"});
  expect_refused(dry_run({"--set", "train.tf32=false", "--tf32"}), 2,
                 {"--tf32 and --set train.tf32=false set the same key: give one"});
  // One value in two spellings, and one flag twice, of which the last counts.
  EXPECT_EQ(dry_run({"--lr", "0.20", "--set", "optim.lr=2e-1"}).code, 0);
  const Outcome last = dry_run({"--lr", "7.5", "--lr", "0.25"});
  EXPECT_EQ(last.code, 0) << last.err;
  EXPECT_NE(last.out.find("lr = 0.25\n"), std::string::npos) << last.out;
}

TEST_F(ProgramSettings, ARunIsNotMadeShorterThanItIs) {
  const std::string run = (dir() / "run").string();
  const auto files = [&] {
    std::string all;
    for (const char* file : {"config.toml", "result.json", "metrics.jsonl"}) all += read_text(dir() / "run" / file);
    return all;
  };
  const std::string before = files();
  for (const Flags& changes : {Flags{}, Flags{"--allow-changes"}}) {
    Flags words = {"train", "--resume", run, "--epochs", "1"};
    words.insert(words.end(), changes.begin(), changes.end());
    expect_refused(run_program(words), 2,
                   {"train.epochs: " + run + " has finished epoch 2; expected at least 2, got 1"});
  }
  EXPECT_EQ(files(), before);
  const Outcome same = run_program({"train", "--resume", run, "--epochs", "2"});
  EXPECT_EQ(same.code, 0) << same.err;
}

TEST_F(ProgramSettings, ARunIsNotMadeShorterThanTheEpochItIsIn) {
  const Flags flags = train_flags(dir(), "within", {"--epochs", "2", "--recovery-interval", "3"});
  {
    Program program(flags);
    ASSERT_TRUE(program.wait_for("epoch 2/2 step 5/")) << program.err();
    program.signal(SIGKILL);
    program.wait();
  }
  ASSERT_GT(progress_of(dir() / "within")["batch"], 0);
  expect_refused(run_program({"train", "--resume", (dir() / "within").string(), "--epochs", "1"}), 2,
                 {"has begun epoch 2; expected at least 2, got 1"});
}

TEST_F(ProgramSettings, ThePaddingIsSmallerThanTheImage) {
  expect_refused(dry_run({"--set", "data.pad=1000"}), 2,
                 {"data.pad: expected less than the images' shorter side, 28 of 28x28 (height x width), got 1000"});
  expect_refused(ProgramSuite::train("padded", {"--set", "data.pad=28"}), 2, {"data.pad: ", "28", "got 28"});
  EXPECT_FALSE(std::filesystem::exists(dir() / "padded"));
  EXPECT_EQ(dry_run({"--set", "data.pad=27"}).code, 0);
}

TEST_F(ProgramSettings, WhatHasNoEffectIsSaid) {
  const Outcome got = dry_run({"--opt", "adam", "--momentum", "0.5", "--set", "schedule.kind=cosine", "--set",
                               "schedule.milestones=[1]", "--noise-type", "symmetric", "--set", "schedule.warmup=1"});
  EXPECT_EQ(got.code, 0) << got.err;
  for (const char* text :
       {"optim.momentum has no effect with optim.name = adam",
        "schedule.milestones has no effect with schedule.kind = cosine", "data.noise_type = symmetric changes no label",
        "schedule.warmup = 1: the learning rate only"})
    EXPECT_NE(got.err.find(concat_text("warning: ", text)), std::string::npos) << got.err;
}

}  // namespace
}  // namespace fulcrum::testing
