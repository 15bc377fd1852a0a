// fulcrum eval of every part of the data, and what it says of settings and directories that it does not take.
#include "program_data_testing.h"

namespace fulcrum::testing {
namespace {

class ProgramEval : public ProgramSuite {
 protected:
  static void SetUpTestSuite() {
    ProgramSuite::SetUpTestSuite();
    const Outcome run = train("run", {"--epochs", "1", "-b", "64", "--noise-type", "symmetric", "--noise-rate", "0.3",
                                      "--val-fraction", "0.2", "--set", "data.pad=4", "--set", "data.flip=true"});
    ASSERT_EQ(run.code, 0) << run.err;
  }
  static TensorMap logits_of(const std::string& split, const Flags& more = {}) {
    const fs::path file = dir() / (split + ".safetensors");
    Flags words = {"eval", (dir() / "run").string(), "--split", split, "--logits", file.string()};
    words.insert(words.end(), more.begin(), more.end());
    const Outcome got = run_program(words);
    EXPECT_EQ(got.code, 0) << got.err;
    result_ = json::parse(got.out, nullptr, false);
    return load_tensors(file).tensors;
  }
  static std::vector<double> numbers_in(const char* file) {
    std::vector<double> numbers;
    std::ifstream in(dir() / "run" / file);
    for (std::string line; std::getline(in, line);)
      if (!line.starts_with("#")) numbers.push_back(std::stod(line));
    return numbers;
  }
  static inline json result_;
};

TEST_F(ProgramEval, LogitsOfTheTrainingSetAreInItsOrderWithTheGivenLabels) {
  const TensorMap t = logits_of("train");
  EXPECT_EQ(t.at("index").to_vector(), numbers_in("train_indices.txt"));
  EXPECT_EQ(t.at("labels").to_vector(), numbers_in("noisy_labels.txt"));
  const auto index = t.at("index").to_vector(), clean = t.at("clean_labels").to_vector();
  ASSERT_GT(index.size(), 250u);  // 320 without a fifth of each class
  for (size_t i = 0; i < index.size(); i++) EXPECT_EQ(clean[i], static_cast<int64_t>(index[i]) % 10);
  EXPECT_EQ(t.at("logits").shape(), Shape({std::ssize(index), 10}));
  EXPECT_EQ(result_["split"], "train");
  const auto logits = t.at("logits").to_vector(), labels = t.at("labels").to_vector();
  double right = 0;
  for (size_t i = 0; i < labels.size(); i++) {
    const auto row = logits.begin() + static_cast<std::ptrdiff_t>(10 * i);
    right += static_cast<double>(std::max_element(row, row + 10) - row) == labels[i];
  }
  EXPECT_DOUBLE_EQ(result_["top1"].get<double>(), right / static_cast<double>(index.size()));
}

// The same files as a test set, which is never augmented.
TEST_F(ProgramEval, TrainingImagesAreNotAugmented) {
  const TensorMap train = logits_of("train");
  for (const char* kind : {"images-idx3", "labels-idx1"}) {
    const std::string name = concat_text("train-", kind, "-ubyte");
    const std::string text = read_text(dir() / "data" / name);
    write_text(dir() / "swapped" / name, text);
    write_text(dir() / "swapped" / concat_text("t10k-", kind, "-ubyte"), text);
  }
  const TensorMap test = logits_of("test", {"--data-dir", (dir() / "swapped").string()});
  EXPECT_FALSE(result_.contains("split"));
  const auto index = train.at("index").to_vector(), all = test.at("logits").to_vector(),
             some = train.at("logits").to_vector();
  for (size_t i = 0; i < index.size(); i++)
    for (size_t c = 0; c < 10; c++)
      EXPECT_NEAR(some[10 * i + c], all[10 * static_cast<size_t>(index[i]) + c], 1e-5) << index[i];
}

TEST_F(ProgramEval, TheHeldOutPartAndTheTestSet) {
  EXPECT_EQ(logits_of("val").at("index").to_vector(), numbers_in("val_indices.txt"));
  EXPECT_EQ(result_["loss"], metrics_of(dir() / "run").back()["val"]["loss"]);
  const TensorMap test = logits_of("test");
  EXPECT_EQ(test.at("index").numel(), kTestImages);
  EXPECT_FALSE(test.contains("clean_labels"));
  expect_refused(run_program({"eval", (dir() / "run").string(), "--split", "id_test"}), 2,
                 {"--split: expected one of test, train, val; got 'id_test'"});
}

TEST_F(ProgramEval, SettingsOfTrainingAreRefused) {
  const std::string run = (dir() / "run").string();
  expect_refused(run_program({"eval", run, "--lr=3"}), 2, {"eval: unexpected '--lr=3': it is a flag of fulcrum train"});
  expect_refused(run_program({"eval", run, "--set", "risk.lambda=9"}), 2,
                 {"--set risk.lambda=9: risk.lambda has no effect beside a trained model"});
  expect_refused(run_program({"eval", run, "--set", "data.flip=false"}), 2, {"data.flip has no effect"});
  expect_refused(run_program({"predict", run, "x.png", "--set", "train.epochs=3"}), 2, {"train.epochs has no effect"});
  expect_refused(run_program({"export", run, "--onnx", (dir() / "x").string(), "--lambda", "3"}), 2,
                 {"export: unexpected '--lambda'"});
  EXPECT_EQ(run_program({"eval", run, "--set", "train.tf32=false", "--set", "data.workers=0"}).code, 0);
}

TEST_F(ProgramEval, HelpShowsOnlyWhatActs) {
  const auto shows = [](const char* command, const std::string& flag) {
    return run_program({command, "--help"}).out.find(flag) != std::string::npos;
  };
  for (const char* command : {"eval", "predict", "export"}) {
    for (const char* flag : {"--epochs", "--lr", "--lambda", "--sync-bn", "--recompute", "--seed", "--output"})
      EXPECT_FALSE(shows(command, flag)) << command << " " << flag;
    for (const char* flag : {"--model", "--data-dir", "--set"}) EXPECT_TRUE(shows(command, flag)) << command << flag;
  }
  EXPECT_TRUE(shows("eval", "--tf32"));
  EXPECT_TRUE(shows("train", "--sync-bn"));
}

TEST_F(ProgramEval, ADirectoryOfRunsIsNoRun) {
  const fs::path runs = dir() / "runs";
  fs::create_directories(runs);
  fs::copy(dir() / "run", runs / "seed0");
  write_text(runs / "report.html", "");  // as a sweep leaves one
  const std::string text =
      "[run] " + runs.string() + " is a directory of runs; expected one of them, such as " + (runs / "seed0").string();
  expect_refused(run_program({"eval", runs.string()}), 1, {text});
  expect_refused(run_program({"train", "--resume", runs.string()}), 1, {text});
}

// ---- test images that are training images ----

TEST_F(ProgramEval, TestImagesThatAreTrainingImagesAreAWarning) {
  const fs::path same = dir() / "same";
  for (const char* kind : {"images-idx3", "labels-idx1"}) {
    const std::string text = read_text(dir() / "data" / concat_text("t10k-", kind, "-ubyte"));
    for (const char* part : {"train-", "t10k-"}) write_text(same / concat_text(part, kind, "-ubyte"), text);
  }
  const std::string warning = "warning: the 60 images of test are the training images, in the same order";
  const Outcome leaks = train("leaks", {"--data-dir", same.string()});
  EXPECT_EQ(leaks.code, 0) << leaks.err;
  EXPECT_NE(leaks.err.find(warning), std::string::npos) << leaks.err;
  EXPECT_EQ(train("sound", {"--dry-run"}).err.find("training images"), std::string::npos);
}

TEST_F(ProgramData, AListWithTrainingImagesAmongItsTestImagesIsAWarning) {
  std::string train_list, test_list;
  for (int i = 0; i < 24; i++)
    for (const auto& [name, label] : {std::pair("cat", 0), {"dog", 1}})
      train_list += concat_text("train/", name, "/", 100 + i, ".png ", label, "\n");
  test_list = "test/cat/100.png 0\ntest/dog/100.png 1\ntrain/dog/101.png 1\n";
  write_text(dir_ / "train.txt", train_list);
  write_text(dir_ / "test.txt", test_list);
  const Flags lists = {"--dataset",
                       "list",
                       "--data-dir",
                       root().string(),
                       "--dry-run",
                       "--set",
                       "data.train_list=" + (dir_ / "train.txt").string(),
                       "--set"};
  const auto with_test = [&](const char* list) {
    Flags flags = lists;
    flags.push_back("data.test_list=" + (dir_ / list).string());
    Flags words = {"train", "-o", dir_ / "run", "--model", "resnet8", "--threads", "1"};
    words.insert(words.end(), flags.begin(), flags.end());
    return run_program(words).err;
  };
  const std::string some = with_test("test.txt"), all = with_test("train.txt");
  EXPECT_NE(some.find("warning: 1 of the 3 images of test are training images, too"), std::string::npos) << some;
  EXPECT_NE(all.find("warning: 48 of the 48 images of test are training images, too"), std::string::npos) << all;
  EXPECT_EQ(all.find("in the same order"), std::string::npos) << "one warning is enough: " << all;
}

}  // namespace
}  // namespace fulcrum::testing
