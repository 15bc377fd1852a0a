// fulcrum train and eval as a user runs them: what they print, write and repeat.
#include "program_testing.h"

namespace fulcrum::testing {
namespace {

namespace fs = std::filesystem;

// The JSON that is all of stdout, in one line.
json only_line(const std::string& out) {
  EXPECT_TRUE(out.ends_with("\n"));
  EXPECT_EQ(std::count(out.begin(), out.end(), '\n'), 1) << out;
  const json row = json::parse(out, nullptr, false);
  EXPECT_TRUE(row.is_object()) << out;
  return row;
}

class ProgramRuns : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    dir_ = new TempDir;
    write_data(*dir_ / "data");
    trained_ = new Outcome(
        run_program(train_flags(*dir_, "run", {"--epochs", "2", "--imb-type", "exp", "--imb-factor", "0.5"})));
  }
  static void TearDownTestSuite() {
    delete dir_;
    delete trained_;
  }
  static const TempDir& dir() { return *dir_; }
  static fs::path run() { return *dir_ / "run"; }
  static const Outcome& trained() { return *trained_; }

 private:
  static inline TempDir* dir_ = nullptr;
  static inline Outcome* trained_ = nullptr;
};

TEST_F(ProgramRuns, TrainWritesARunAndItsResult) {
  ASSERT_EQ(trained().code, 0) << trained().err;
  const json result = only_line(trained().out);
  for (const char* key :
       {"top1", "top5", "balanced", "worst_class", "many", "medium", "few", "loss", "macro_f1", "ece"})
    EXPECT_TRUE(result.contains(key)) << key;
  EXPECT_EQ(result["epochs"], 2);
  EXPECT_EQ(result["seed"], 3);
  EXPECT_EQ(result["output"], run().string());
  EXPECT_EQ(result["best"]["selected_on"], "test");
  EXPECT_NE(trained().err.find("1 thread"), std::string::npos) << trained().err;
  for (const char* file : {"config.toml", "metrics.jsonl", "last.safetensors", "best.safetensors"})
    EXPECT_TRUE(fs::is_regular_file(run() / file)) << file;
  for (const auto& entry : fs::directory_iterator(run())) EXPECT_NE(entry.path().extension(), ".tmp") << entry.path();
}

TEST_F(ProgramRuns, MetricsHaveALineAnEpoch) {
  const auto rows = metrics_of(run());
  ASSERT_EQ(rows.size(), 2u);
  for (size_t i = 0; i < 2; i++) EXPECT_EQ(rows[i]["epoch"], i);
  EXPECT_LT(rows[1]["train"]["loss"], rows[0]["train"]["loss"]);
  EXPECT_DOUBLE_EQ(rows[0]["weight_sum"], 1);
  EXPECT_DOUBLE_EQ(rows[0]["effective_fraction"], 1);
  const json result = only_line(trained().out);
  for (const char* key : {"top1", "balanced", "loss"}) EXPECT_EQ(result[key], rows[1]["test"][key]);
  // 32 images of the first class, 16 of the last: none many, few only below 20.
  EXPECT_TRUE(rows[1]["test"]["many"].is_null());
  EXPECT_TRUE(rows[1]["test"]["medium"].is_number());
  EXPECT_TRUE(rows[1]["test"]["few"].is_number());
}

TEST_F(ProgramRuns, IndexListNamesTheImbalancedSubset) {
  std::ifstream in(run() / "train_indices.txt");
  std::vector<int64_t> counts(10);
  for (std::string line; std::getline(in, line);)
    if (!line.starts_with("#")) counts[static_cast<size_t>(std::stoll(line) % 10)]++;
  EXPECT_EQ(counts.front(), 32);
  EXPECT_EQ(counts.back(), 16);
  EXPECT_TRUE(std::is_sorted(counts.rbegin(), counts.rend()));
}

TEST_F(ProgramRuns, EvalRepeatsTheLastMetrics) {
  const Outcome eval = run_program({"eval", run().string()});
  ASSERT_EQ(eval.code, 0) << eval.err;
  EXPECT_EQ(only_line(eval.out), metrics_of(run()).back()["test"]);
  // The model alone, without the state of the run.
  const json best = only_line(trained().out)["best"];
  const Outcome of_best = run_program({"eval", (run() / "best.safetensors").string()});
  ASSERT_EQ(of_best.code, 0) << of_best.err;
  EXPECT_EQ(only_line(of_best.out)["loss"], best["loss"]);
}

TEST_F(ProgramRuns, ConfigTomlRepeatsTheRun) {
  const Outcome again =
      run_program({"train", "--recipe", (run() / "config.toml").string(), "-o", (dir() / "again").string()});
  ASSERT_EQ(again.code, 0) << again.err;
  expect_same_run(run(), dir() / "again");
  std::string config = read_text(run() / "config.toml");
  const size_t at = config.find(run().string());
  ASSERT_NE(at, std::string::npos);
  config.replace(at, run().string().size(), (dir() / "again").string());
  EXPECT_EQ(read_text(dir() / "again" / "config.toml"), config);
}

TEST_F(ProgramRuns, AnotherSeedIsAnotherRun) {
  const Outcome other = run_program({"train", "--recipe", (run() / "config.toml").string(), "-o",
                                     (dir() / "other").string(), "--seed", "4", "--epochs", "1"});
  ASSERT_EQ(other.code, 0) << other.err;
  EXPECT_NE(metrics_of(dir() / "other").front()["train"], metrics_of(run()).front()["train"]);
}

TEST_F(ProgramRuns, SettingsComeFromEnvironmentThenFlags) {
  const Outcome got = run_program({"train", "--model", "resnet8", "--epochs", "1", "-b", "64", "--threads", "1",
                                   "--lamda", "-inf", "--opt", "absgd"},
                                  {},
                                  {"FULCRUM_DATA_DIR=" + (dir() / "data").string(), "FULCRUM_THREADS=2",
                                   "FULCRUM_OUTPUT=" + (dir() / "environment").string()});
  ASSERT_EQ(got.code, 0) << got.err;
  const std::string config = read_text(dir() / "environment" / "config.toml");
  for (const char* line : {"threads = 1", "lambda = -inf", "name = 'kl'", "name = 'sgd'"})
    EXPECT_NE(config.find(line), std::string::npos) << line << " in " << config;
}

TEST_F(ProgramRuns, NoiseAndAHeldOutPartAreWrittenDown) {
  const Outcome got = run_program(train_flags(
      dir(), "noise",
      {"--noise-type", "symmetric", "--noise-rate", "0.5", "--set", "data.val_fraction=0.25", "-b", "128"}));
  ASSERT_EQ(got.code, 0) << got.err;
  EXPECT_EQ(only_line(got.out)["best"]["selected_on"], "val");
  EXPECT_TRUE(metrics_of(dir() / "noise").front().contains("val"));
  const auto lines = [&](const char* file) {
    std::vector<int64_t> numbers;
    std::ifstream in(dir() / "noise" / file);
    for (std::string line; std::getline(in, line);)
      if (!line.starts_with("#")) numbers.push_back(std::stoll(line));
    return numbers;
  };
  const auto train = lines("train_indices.txt"), labels = lines("noisy_labels.txt");
  ASSERT_EQ(train.size(), 240u);
  EXPECT_EQ(lines("val_indices.txt").size(), 80u);
  ASSERT_EQ(labels.size(), train.size());
  int64_t wrong = 0;
  for (size_t i = 0; i < train.size(); i++) wrong += labels[i] != train[i] % 10;
  EXPECT_NEAR(static_cast<double>(wrong), 120, 25);
}

TEST_F(ProgramRuns, ExistOkOverwritesAll) {
  ASSERT_EQ(run_program(train_flags(dir(), "twice")).code, 0);
  Program program(train_flags(dir(), "twice", {"--epochs", "2", "--exist-ok"}));
  // A run that starts anew has nothing of the old one that somebody could resume from.
  ASSERT_TRUE(program.wait_for("epoch 1/2 step 1/"));
  EXPECT_FALSE(fs::exists(dir() / "twice" / "last.safetensors"));
  ASSERT_EQ(program.wait(), 0) << program.err();
  EXPECT_EQ(metrics_of(dir() / "twice").size(), 2u);
}

TEST_F(ProgramRuns, HelpAndVersionAreNoErrors) {
  for (const char* flag : {"--help", "--version"}) {
    const Outcome got = run_program({flag});
    EXPECT_EQ(got.code, 0);
    EXPECT_NE(got.out, "");
  }
  EXPECT_NE(run_program({"train", "--help"}).out.find("--weight-decay"), std::string::npos);
}

}  // namespace
}  // namespace fulcrum::testing
