// fulcrum sweep: selection on the held-out part, continuation, the command that it ends with.
#include "apps/grid/sweep.h"
#include "grid_testing.h"

namespace fulcrum::testing {
namespace {

namespace fs = std::filesystem;

const Flags kSweep = {"sweep",  "--epochs",          "2",      "--opt",           "absgd", "--eval-metric", "loss",
                      "--grid", "risk.lambda=0.5,5", "--grid", "risk.gamma=0.5,1"};

class ProgramSweep : public ProgramSuite {
 protected:
  static void SetUpTestSuite() {
    ProgramSuite::SetUpTestSuite();
    whole_ = new Outcome(run_program(flags("whole")));
    ASSERT_EQ(whole_->code, 0) << whole_->err;
  }
  static void TearDownTestSuite() {
    ProgramSuite::TearDownTestSuite();
    delete whole_;
  }
  static const Outcome& whole() { return *whole_; }
  static Flags flags(const std::string& output, const Flags& more = {}) {
    return grid_flags(dir(), output, kSweep, more);
  }

 private:
  static inline Outcome* whole_ = nullptr;
};

TEST_F(ProgramSweep, ChoosesByTheHeldOutPartAlone) {
  EXPECT_NE(whole().err.find("data.val_fraction = 0.1"), std::string::npos) << whole().err;
  const json table = json::parse(read_text(dir() / "whole/sweep.json"));
  EXPECT_EQ(json::parse(whole().out), table);
  ASSERT_EQ(table["points"].size(), 4u);
  double best = INFINITY;
  json chosen;
  for (const json& point : table["points"]) {
    const std::string folder = "risk.lambda=" + point["settings"]["risk.lambda"].get<std::string>() +
                               ",risk.gamma=" + point["settings"]["risk.gamma"].get<std::string>();
    const json result = json::parse(read_text(dir() / "whole" / folder / "seed0/result.json"));
    EXPECT_EQ(point["val"]["mean"], result["val"]["loss"]) << folder;
    EXPECT_NE(result["val"]["loss"], result["loss"]);
    EXPECT_FALSE(point.contains("test"));
    if (result["val"]["loss"] >= best) continue;
    best = result["val"]["loss"];
    chosen = point["settings"];
    EXPECT_TRUE(fs::exists(dir() / "whole" / folder / "seed0/val_indices.txt"));
  }
  EXPECT_EQ(table["best"]["settings"], chosen);
  const std::string page = read_text(dir() / "whole/report.html");
  EXPECT_NE(page.find("class=\"map\""), std::string::npos);
  EXPECT_NE(page.find("class=\"outline\""), std::string::npos);
}

TEST_F(ProgramSweep, EndsWithACommandThatTrainsTheBest) {
  const json table = json::parse(read_text(dir() / "whole/sweep.json"));
  const std::string command = table["best"]["command"];
  EXPECT_NE(whole().err.find(command), std::string::npos);
  ASSERT_TRUE(command.starts_with("fulcrum "));
  const std::string line = FULCRUM_PROGRAM + command.substr(7) + " -o " + (dir() / "best").string() + " >/dev/null 2>" +
                           (dir() / "best.log").string();
  ASSERT_EQ(std::system(line.c_str()), 0) << command << read_text(dir() / "best.log");
  const std::string config = read_text(dir() / "best/config.toml");
  const std::string lambda = table["best"]["settings"]["risk.lambda"];
  EXPECT_NE(config.find("\nlambda = " + lambda), std::string::npos) << config;
  EXPECT_NE(config.find("\nval_fraction = 0.0"), std::string::npos) << config;
}

TEST_F(ProgramSweep, KilledAndContinuedGivesTheSameBytes) {
  Program program(flags("killed"));
  ASSERT_TRUE(wait_for_file(program, dir() / "killed/risk.lambda=0.5,risk.gamma=1/seed0/last.safetensors"))
      << program.err();
  program.signal(SIGKILL);
  ASSERT_EQ(program.wait(), 137);
  const json partial = json::parse(read_text(dir() / "killed/sweep.json"));
  EXPECT_EQ(partial["points"].size(), 1u);
  EXPECT_EQ(partial["missing"].size(), 3u);
  const Outcome rest = run_program(flags("killed"));
  ASSERT_EQ(rest.code, 0) << rest.err;
  for (const char* file : {"sweep.json", "sweep.md"})
    EXPECT_EQ(read_text(dir() / "killed" / file), read_text(dir() / "whole" / file)) << file;
}

TEST_F(ProgramSweep, OneKeyIsACurveOfMeansOverSeeds) {
  const Outcome got =
      run_program(grid_flags(dir(), "one",
                             {"sweep", "--smoke", "--grid", "optim.lr=0.001,0.1", "--seeds", "2", "--eval-metric",
                              "balanced", "--imb-type", "exp", "--imb-factor", "0.5", "--val-fraction", "0.25"}));
  ASSERT_EQ(got.code, 0) << got.err;
  EXPECT_EQ(got.err.find("data.val_fraction = 0.1"), std::string::npos);
  EXPECT_EQ(got.err.find("warning: the held-out part"), std::string::npos);
  const json table = json::parse(got.out);
  EXPECT_EQ(table["val_fraction"], 0.25);
  const json &a = table["points"][0], &b = table["points"][1];
  EXPECT_EQ(a["val"]["seeds"], 2);
  EXPECT_EQ(table["best"]["settings"], a["val"]["mean"] >= b["val"]["mean"] ? a["settings"] : b["settings"]);
  const std::string page = read_text(dir() / "one/report.html"), text = read_text(dir() / "one/sweep.md");
  EXPECT_NE(page.find("<polyline"), std::string::npos);
  EXPECT_NE(page.find("optim.lr=0.1/seed1/report.html"), std::string::npos);
  for (const char* part :
       {"2 combinations, 2 seeds each, 2 epochs per run.", "not used for the choice: top-1 ", ", balanced "})
    EXPECT_TRUE(page.find(part) != std::string::npos && text.find(part) != std::string::npos) << part << text;
  // Who holds a part out on purpose gets a command that does so, too.
  EXPECT_NE(table["best"]["command"].get<std::string>().find("data.val_fraction=0.25"), std::string::npos);
}

// --smoke writes a schedule of steps as milestones; the key still counts.
TEST_F(ProgramSweep, ASmokeRunTakesTheKeysOfTheWholeOne) {
  const Outcome got = run_program(grid_flags(
      dir(), "steps", {"sweep", "--smoke", "--set", "schedule.kind=step", "--grid", "schedule.step_size=1,2"}));
  EXPECT_EQ(got.code, 0) << got.err;
}

TEST(SweepResults, CombinationsWithinTwoErrorsOfTheBestAreAsGood) {
  apps::SweepResults results;
  for (const auto& [mean, sd, count] :
       {std::tuple{0.90, 0.02, size_t{4}}, {0.88, 0.01, 4}, {0.87, 0.01, 4}, {0.90, 0.0, 1}}) {
    apps::SweepPoint point;
    point.val = {mean, sd, count};
    results.points.push_back(point);
  }
  results.best = 0;  // twice the standard error of the difference is 0.0224 for the second and third
  EXPECT_FALSE(apps::as_good_as_best(results, 0));
  EXPECT_TRUE(apps::as_good_as_best(results, 1));
  EXPECT_FALSE(apps::as_good_as_best(results, 2));
  EXPECT_FALSE(apps::as_good_as_best(results, 3));
}

TEST_F(ProgramSweep, Top1OfAnImbalancedPartIsWarnedOf) {
  const Outcome got = run_program(grid_flags(dir(), "dry",
                                             {"sweep", "--dry-run", "--imb-type", "exp", "--imb-factor", "0.5",
                                              "--epochs", "1", "--grid", "optim.lr=0.1,0.2"}));
  ASSERT_EQ(got.code, 0) << got.err;
  EXPECT_NE(got.err.find("--eval-metric balanced counts all classes alike"), std::string::npos) << got.err;
  EXPECT_NE(got.out.find("2 cells, 2 to train"), std::string::npos) << got.out;
  EXPECT_FALSE(fs::exists(dir() / "dry"));
}

TEST_F(ProgramSweep, RefusesNonsense) {
  const auto refused = [&](const Flags& grid, const Flags& parts, const Flags& more = {"--opt", "absgd"}) {
    Flags words = {"sweep"};
    for (const std::string& g : grid) words.insert(words.end(), {"--grid", g});
    words.insert(words.end(), more.begin(), more.end());
    expect_refused(run_program(grid_flags(dir(), "refused", words)), 2, parts);
  };
  refused({}, {"--grid"});
  refused({"risk.lambda"}, {"--grid: expected section.key=value,value"});
  refused({"risk.lambda="}, {"risk.lambda: expected values"});
  refused({"risk.lambda=1,,2"}, {"risk.lambda: expected values"});
  refused({"risk.lambda=1,1"}, {"'1' stands twice"});
  refused({"risk.lambda=1", "risk.lambda=2"}, {"risk.lambda stands twice"});
  refused({"risk.lamda=1"}, {"unknown key 'risk.lamda'; did you mean 'risk.lambda'?"});
  refused({"risk.lambda=1,2"}, {"--grid: risk.lambda has a value of its own on this command line; give one"},
          {"--opt", "absgd", "--lambda", "5"});
  refused({"risk.lambda=1,0"}, {"risk.lambda: expected a number outside (-1e-30, 1e-30)"});
  for (const char* key :
       {"data.imb_factor", "data.train_split", "data.val_list", "data.eval_splits", "data.on_bad_image"})
    refused({std::string(key) + "=0.1,0.01"}, {std::string(key) + " changes the held-out part"});
  for (const char* key : {"train.recompute", "data.cache_mb"})
    refused({std::string(key) + "=true,false"}, {std::string(key) + " does not change a result"});
  refused({"risk.lambda=1"}, {"train.eval_metric"}, {"--opt", "absgd", "--eval-metric", "top2"});
  refused({"train.seed=1,2"}, {"--seeds N"});
  refused({"risk.lambda=1,2"}, {"risk.lambda has no effect with risk.name = mean"}, {});
  refused({"loss.sce_a=0.1,1"}, {"loss.sce_a has no effect with loss.name = ce"}, {});
  EXPECT_FALSE(fs::exists(dir() / "refused"));
}

}  // namespace
}  // namespace fulcrum::testing
