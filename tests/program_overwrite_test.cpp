// What no command may replace or lose: other people's files, finished runs, devices; output that nobody gets.
#include <sys/stat.h>

#include "program_testing.h"

namespace fulcrum::testing {
namespace {

namespace fs = std::filesystem;

class ProgramOverwrite : public ProgramSuite {
 protected:
  static void SetUpTestSuite() {
    ProgramSuite::SetUpTestSuite();
    const Outcome run = run_program(train_flags(dir(), "run", {"-b", "160"}));
    ASSERT_EQ(run.code, 0) << run.err;
  }
  static std::string shell(const std::string& words, int* code) {
    const fs::path err = dir() / "shell.err";
    const int status = std::system((std::string(FULCRUM_PROGRAM) + " " + words + " 2>" + err.string()).c_str());
    *code = WEXITSTATUS(status);
    return read_text(err);
  }
};

TEST_F(ProgramOverwrite, ADirectoryWithOtherPeoplesFiles) {
  fs::create_directory(dir() / "mine");
  write_text(dir() / "mine/log.txt", "mine");
  expect_refused(train("mine"), 2, {"mine holds log.txt, which a run would replace", "--exist-ok"});
  EXPECT_EQ(read_text(dir() / "mine/log.txt"), "mine");
  EXPECT_EQ(train("mine", {"--exist-ok"}).code, 0);
  fs::create_directory(dir() / "events");
  write_text(dir() / "events/events.out.tfevents.1.theirs", "theirs");
  expect_refused(train("events"), 2, {"events holds events.out.tfevents.1.theirs, which a run would replace"});
}

TEST_F(ProgramOverwrite, AFinishedRunBySmoke) {
  fs::copy(dir() / "run", dir() / "whole");
  const std::string before = read_text(dir() / "whole/last.safetensors");
  expect_refused(train("whole", {"--smoke"}), 2, {"whole holds a run already"});
  EXPECT_TRUE(read_text(dir() / "whole/last.safetensors") == before);
  ASSERT_EQ(train("a-smoke", {"--smoke"}).code, 0);
  EXPECT_EQ(train("a-smoke", {"--smoke"}).code, 0);  // which is there to be run again
  for (int time = 0; time < 2; time++) EXPECT_EQ(train("b-smoke/", {"--smoke", "--seeds", "2"}).code, 0);
}

TEST_F(ProgramOverwrite, ADirectoryOfOthersByResumeAuto) {
  fs::create_directory(dir() / "theirs");
  write_text(dir() / "theirs/config.toml", "[mine]\n");
  expect_refused(train("theirs", {"--resume", "auto"}), 2, {"theirs holds a run already"});
  EXPECT_EQ(read_text(dir() / "theirs/config.toml"), "[mine]\n");
  EXPECT_EQ(train("new", {"--resume", "auto"}).code, 0);
}

TEST_F(ProgramOverwrite, ATerminalThatIsClosedStopsARun) {
  Program program(train_flags(dir(), "hung", {"--epochs", "500"}));
  ASSERT_TRUE(program.wait_for("step 2/")) << program.err();
  program.signal(SIGHUP);
  EXPECT_EQ(program.wait(), 129) << program.err();
  EXPECT_TRUE(fs::exists(dir() / "hung/last.safetensors"));
}

TEST_F(ProgramOverwrite, ARunByASweepOrAGrid) {
  const std::string run = dir() / "run", data = dir() / "data";
  const std::string page = read_text(dir() / "run/report.html");
  expect_refused(run_program({"sweep", "--grid", "optim.lr=0.1,0.2", "--data-dir", data, "-o", run}), 2,
                 {"--output: ", "run holds a run"});
  expect_refused(run_program({"reproduce", "fashion-mnist-lt", "--smoke", "--data-dir", data, "-o", run}), 2,
                 {"--output: ", "run holds a run"});
  EXPECT_TRUE(read_text(dir() / "run/report.html") == page);
}

TEST_F(ProgramOverwrite, AModelByWhatIsMadeOfIt) {
  const std::string run = dir() / "run", model = dir() / "run/last.safetensors", data = dir() / "data";
  const std::string before = read_text(dir() / "run/last.safetensors");
  expect_refused(run_program({"eval", run, "--logits", model}), 2, {"--logits: ", "is the model that is read"});
  expect_refused(run_program({"export", run, "--onnx", model}), 2, {"--onnx: ", "is the model that is read"});
  expect_refused(run_program({"report", run, "-o", model}), 2, {"--output: ", "is a file of the run"});
  EXPECT_TRUE(read_text(dir() / "run/last.safetensors") == before);
}

TEST_F(ProgramOverwrite, APipe) {
  const fs::path pipe = dir() / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  expect_refused(run_program({"export", dir() / "run", "--onnx", pipe.string()}), 1,
                 {"pipe: expected a file that can be replaced, got a device, pipe or socket"});
  EXPECT_TRUE(fs::is_fifo(pipe));
}

TEST_F(ProgramOverwrite, WhatCannotBeWrittenToStdoutIsAnError) {
  int code = 0;
  const std::string err = shell("info >/dev/full", &code);
  EXPECT_EQ(code, 1);
  EXPECT_NE(err.find("cannot write to stdout: No space left"), std::string::npos) << err;
  shell("info --model resnet8 >&-", &code);  // closed: nobody wants it
  EXPECT_EQ(code, 0);
}

TEST_F(ProgramOverwrite, AResumedRunIsNoOther) {
  const std::string run = dir() / "run";
  expect_refused(run_program({"train", "--resume", run, "--smoke"}), 2, {"expected no --smoke"});
  expect_refused(run_program({"train", "--resume", run, "-o", dir() / "other"}), 2, {"expected no --output"});
  fs::create_directory(dir() / "young");
  fs::copy(dir() / "run/config.toml", dir() / "young/config.toml");
  expect_refused(run_program({"train", "--resume", dir() / "young"}), 1,
                 {"there is no checkpoint yet; --resume auto --output "});
}

// What a flag changed is in the log, and stays where the run is killed before its next checkpoint.
TEST_F(ProgramOverwrite, ChangesOnResumeAreKeptAtOnce) {
  ASSERT_EQ(train("changed", {"--opt", "absgd", "--lambda", "5"}).code, 0);
  const std::string run = dir() / "changed";
  Program program({"train", "--resume", run, "--lambda", "2", "--allow-changes", "--epochs", "500"});
  ASSERT_TRUE(program.wait_for("changed: risk.lambda: 5.0 -> 2.0")) << program.err();
  ASSERT_TRUE(program.wait_for("epoch 2/500")) << program.err();
  program.signal(SIGKILL);
  EXPECT_EQ(program.wait(), 137);
  EXPECT_NE(read_text(dir() / "changed/log.txt").find("changed: risk.lambda: 5.0 -> 2.0"), std::string::npos);
  EXPECT_NE(load_tensors(dir() / "changed/last.safetensors").metadata.at("config").find("\nlambda = 2.0"),
            std::string::npos);
}

TEST_F(ProgramOverwrite, ReportsTakeADirectoryOfRuns) {
  ASSERT_EQ(train("seeds", {"--seeds", "2"}).code, 0);
  fs::create_directory(dir() / "seeds/seed3/epochs-1");  // as a grid keeps for another cell
  fs::copy(dir() / "seeds/seed3/config.toml", dir() / "seeds/seed3/epochs-1/config.toml");
  const Outcome got = run_program({"report", dir() / "seeds", "-o", dir() / "seeds.html"});
  ASSERT_EQ(got.code, 0) << got.err;
  const std::string page = read_text(dir() / "seeds.html");
  for (const char* seed : {"seed3", "seed4"}) EXPECT_NE(page.find(seed), std::string::npos) << seed;
  EXPECT_EQ(page.find("epochs-1"), std::string::npos);
}

}  // namespace
}  // namespace fulcrum::testing
