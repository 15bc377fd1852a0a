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
