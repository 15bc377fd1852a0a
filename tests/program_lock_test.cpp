// One process at a time in the directory of a run, of a grid, of a sweep.
#include "grid_testing.h"

namespace fulcrum::testing {
namespace {

class ProgramLock : public ProgramSuite {};

const Flags kLong = {"--epochs", "1000"};

void expect_in_use(const Outcome& got, const std::filesystem::path& directory, pid_t pid) {
  expect_refused(got, 1, {directory.string() + " is in use by process " + std::to_string(pid)});
}

TEST_F(ProgramLock, TheSecondRunIsRefusedAndDisturbsNothing) {
  Program first(train_flags(dir(), "run", kLong));
  ASSERT_TRUE(first.wait_for("epoch 2/1000 step 3/")) << first.err();
  expect_in_use(train("run", merged(kLong, {"--resume", "auto"})), dir() / "run", first.pid());
  Flags overwriting = train_flags(dir(), "run", kLong);
  overwriting.push_back("--exist-ok");
  expect_in_use(run_program(overwriting), dir() / "run", first.pid());
  first.signal(SIGTERM);
  EXPECT_EQ(first.wait(), 143) << first.err();
  const Outcome rest = train("run", {"--epochs", "4", "--resume", "auto"});
  EXPECT_EQ(rest.code, 0) << rest.err;
}

TEST_F(ProgramLock, AKilledRunLocksNothing) {
  Program first(train_flags(dir(), "killed", kLong));
  ASSERT_TRUE(first.wait_for("epoch 2/1000 step 3/")) << first.err();
  first.signal(SIGKILL);
  ASSERT_EQ(first.wait(), 137);
  EXPECT_TRUE(std::filesystem::exists(dir() / "killed/.lock"));
  const Outcome rest = train("killed", {"--epochs", "4", "--resume", "auto"});
  EXPECT_EQ(rest.code, 0) << rest.err;
}

TEST_F(ProgramLock, TheSecondGridOrSweepIsRefused) {
  const Flags grid = {"reproduce", "fashion-mnist-lt", "--ratios", "0.1",      "--methods",
                      "ce",        "--seeds",          "2",        "--epochs", "1000"};
  const Flags sweep = {"sweep", "--grid", "optim.lr=0.1,0.2", "--model", "resnet8", "--epochs", "1000"};
  for (const Flags& words : {grid, sweep}) {
    const std::string output = words.front();
    Program first(grid_flags(dir(), output, words));
    ASSERT_TRUE(first.wait_for("epoch 2/1000")) << first.err();
    expect_in_use(run_program(grid_flags(dir(), output, words)), dir() / output, first.pid());
    first.signal(SIGKILL);
    ASSERT_EQ(first.wait(), 137);
    Program next(grid_flags(dir(), output, words));
    EXPECT_TRUE(next.wait_for("resuming at epoch")) << next.err();
  }
}

}  // namespace
}  // namespace fulcrum::testing
