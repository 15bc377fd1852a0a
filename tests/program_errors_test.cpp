// Bad input that needs more than a command line, or leaves something behind; docs/errors.md has the rest
// (program_error_index_test.cpp).
#include <fulcrum/core/cuda/runtime.h>

#include "program_testing.h"

namespace fulcrum::testing {
namespace {

namespace fs = std::filesystem;

class ProgramErrors : public ProgramSuite {
 protected:
  static void SetUpTestSuite() {
    ProgramSuite::SetUpTestSuite();
    const Outcome run = run_program(train_flags(dir(), "run", {"-b", "160"}));
    ASSERT_EQ(run.code, 0) << run.err;
  }
  /// A run of its own that has finished one epoch.
  static fs::path copy_of_run(const std::string& name) {
    fs::copy(dir() / "run", dir() / name);
    return dir() / name;
  }
  static Outcome train(const Flags& more) { return run_program(train_flags(dir(), "refused", more)); }
  /// `fulcrum train` on the data with one file replaced.
  static Outcome train_with(const std::string& file, const std::string& content) {
    const TempDir broken;
    fs::copy(dir() / "data", broken / "data");
    write_text(broken / "data" / file, content);
    return run_program(train_flags(broken, "run"));
  }
};

// ---- data ----

TEST_F(ProgramErrors, MissingData) {
  expect_refused(train({"--data-dir", (dir() / "nowhere").string()}), 1,
                 {"error: [fashion-mnist] found no train-images-idx3-ubyte", "nowhere", "--data-dir"});
  const TempDir part;
  fs::copy(dir() / "data", part / "data");
  fs::remove(part / "data/t10k-labels-idx1-ubyte");
  expect_refused(run_program(train_flags(part, "run")), 1, {"found no t10k-labels-idx1-ubyte"});
  expect_refused(run_program({"train", "--dataset", "cifar10", "-o", (dir() / "refused").string()}), 2,
                 {"data.dir: say where cifar10 lies", "--data-dir"});
  EXPECT_FALSE(fs::exists(dir() / "refused"));
}

TEST_F(ProgramErrors, DamagedData) {
  const std::string name = "train-images-idx3-ubyte", test_labels = "t10k-labels-idx1-ubyte";
  const std::string images = read_text(dir() / "data" / name);
  const std::string labels = read_text(dir() / "data" / test_labels);
  expect_refused(train_with(name, ""), 1, {name, "the file is empty"});
  expect_refused(train_with(name, images.substr(0, images.size() - 1)), 1, {name, "truncated"});
  expect_refused(train_with(name, images + "x"), 1, {name});
  expect_refused(train_with(name, "\1" + images.substr(1)), 1,
                 {name, "expected magic 0x00000803 (images) at byte 0, got 0x01000803"});
  expect_refused(train_with(test_labels, labels.substr(0, labels.size() - 1) + "\x0a"), 1,
                 {test_labels, "sample 59: expected a label in [0, 10), got 10"});
  expect_refused(train_with(test_labels, big_endian({0x801, 2}) + std::string(2, '\0')), 1,
                 {"expected as many labels as images, got 60 images"});
}

// ---- settings ----

TEST_F(ProgramErrors, LambdaThatIsNoNumberOrTooNearZero) {
  for (const std::string lambda : {"0", "nan", "1e-40", "-1e-40"})
    expect_refused(train({"--opt", "absgd", "--lambda", lambda}), 2,
                   {"risk.lambda: expected a number outside (-1e-30, 1e-30), inf for plain SGD; got " + lambda});
  EXPECT_FALSE(fs::exists(dir() / "refused"));
}

TEST_F(ProgramErrors, NumbersThatAreTooLargeToBeMeant) {
  expect_refused(train({"--threads", "100000"}), 2, {"train.threads: expected at most 1024, got 100000"});
  expect_refused(train({"--set", "schedule.milestones=[2147483648]"}), 2,
                 {"schedule.milestones: expected at most 2147483647, got 2147483648"});
  expect_refused(train({"--set", "data.pad=4294967296"}), 2, {"data.pad: expected at most 2147483647"});
}

TEST_F(ProgramErrors, EmptyValuesAndOtherBytesThanUtf8) {
  for (const char* flag : {"--recipe", "--resume", "--pretrained", "--data-dir"})
    expect_refused(train({flag, ""}), 2, {flag, "expected a value, got nothing"});
  expect_refused(train({"--data-dir", "tc\351"}), 2, {"data.dir: expected UTF-8"});
  write_text(dir() / "deep.toml", "[" + std::string(200'000, 'a') + "]\n");
  expect_refused(train({"--recipe", (dir() / "deep.toml").string()}), 2, {"line 1: expected at most 16384 bytes"});
}

TEST_F(ProgramErrors, GammaThatIsNotTiltedsOwn) {
  const Flags tilted = {"--risk", "tilted", "--lambda", "2"};
  for (const Flags& gamma : {Flags{"--gamma", "0.9"}, Flags{"--set", "risk.gamma=0.9"}, Flags{"--drogamma", "0.5"}})
    expect_refused(train(merged(tilted, gamma)), 2, {"risk.gamma: tilted is kl with gamma = 1, got 0."});
  EXPECT_FALSE(fs::exists(dir() / "refused"));
  // A recipe's is for the risk that it has.
  write_text(dir() / "kl.toml", "[risk]\nname = \"kl\"\nlambda = 2\ngamma = 0.5\n");
  for (const Flags& flags : {tilted, merged(tilted, {"--gamma", "1"}),
                             Flags{"--recipe", (dir() / "kl.toml").string(), "--risk", "tilted"}}) {
    const Outcome got = train(merged(flags, {"--dry-run"}));
    EXPECT_EQ(got.code, 0) << got.err;
    EXPECT_NE(got.out.find("lambda = 2.0\ngamma = 1.0\n"), std::string::npos) << got.out;
  }
}

TEST_F(ProgramErrors, Recipes) {
  expect_refused(train({"--recipe", "/proc/self/mem"}), 2, {"--recipe: [read] /proc/self/mem: cannot read"});
  expect_refused(train({"--recipe", "fashion-mnist-tl"}), 2,
                 {"no recipe or file 'fashion-mnist-tl'", "did you mean 'fashion-mnist-lt'?", "cifar10-lt"});
  const auto recipe = [&](const std::string& text) {
    write_text(dir() / "mine.toml", text);
    return train({"--recipe", (dir() / "mine.toml").string()});
  };
  expect_refused(recipe("# mine\n[optim]\nlr = 0.1\nmomentun = 0.9\n"), 2,
                 {"mine.toml line 4: unknown key 'optim.momentun'; did you mean 'optim.momentum'?"});
  expect_refused(recipe("[train]\n\nepochs = \"ten\"\n"), 2, {"mine.toml line 3: train.epochs takes an integer"});
  expect_refused(recipe("[train\n"), 2, {"mine.toml line 1"});
}

TEST_F(ProgramErrors, DeviceThatIsNotThere) {
  const std::string beyond = "cuda:" + std::to_string(cuda::device_count());
  const int code = cuda::kBuilt ? 1 : 2;
  const std::string reason = !cuda::kBuilt              ? "needs a build with the CUDA back-end"
                             : cuda::device_count() > 0 ? beyond
                                                        : cuda::why_no_device();
  expect_refused(train({"--device", beyond}), code, {reason});
  expect_refused(run_program({"eval", (dir() / "run").string(), "--device", beyond}), code, {reason});
}

// ---- runs and checkpoints ----

TEST_F(ProgramErrors, RunDirectoryInUse) {
  const std::string before = read_text(dir() / "run/last.safetensors");
  expect_refused(run_program(train_flags(dir(), "run")), 2, {"holds a run already", "--resume auto", "--exist-ok"});
  EXPECT_EQ(read_text(dir() / "run/last.safetensors"), before);
  expect_refused(run_program({"train", "--resume", (dir() / "no-run").string()}), 1,
                 {"no-run/last.safetensors", "No such file"});
  write_text(dir() / "file", "");
  expect_refused(run_program(train_flags(dir(), "file/run")), 1, {"file/run"});
}

TEST_F(ProgramErrors, CheckpointOfAnotherModel) {
  const std::string last = (dir() / "run/last.safetensors").string();
  expect_refused(run_program({"eval", last, "--model", "resnet20"}), 1,
                 {last, "missing", "layer1.1.conv1.weight", "layer3.2.bn2.running_var"});
  const auto run = copy_of_run("other-model");
  expect_refused(run_program({"train", "--resume", run.string(), "--allow-changes", "--model", "resnet20"}), 1,
                 {"a checkpoint of another run", "missing: optim.momentum.layer1.1.conv1.weight"});
  expect_refused(run_program({"train", "--resume", run.string(), "--allow-changes", "--opt", "adam"}), 1,
                 {"missing: optim.first_moment.conv1.weight", "unexpected: optim.momentum.conv1.weight"});
  // Five colours instead of grey, a tensor too few and one too many.
  TensorFile file = load_tensors(last);
  file.tensors["conv1.weight"] = zeros({16, 5, 3, 3});
  file.tensors["head.weight"] = zeros({2});
  file.tensors.erase("fc.bias");
  file.metadata.erase("checksum");
  save_tensors(dir() / "strange.safetensors", file);
  expect_refused(run_program({"eval", (dir() / "strange.safetensors").string()}), 1,
                 {"conv1.weight: expected floating [16, 1, 3, 3], got f32 [16, 5, 3, 3]", "head.weight", "fc.bias"});
}

TEST_F(ProgramErrors, DamagedCheckpoint) {
  const auto run = copy_of_run("damaged");
  const std::string good = read_text(run / "last.safetensors");
  const auto with = [&](const std::string& bytes, const Flags& parts) {
    write_text(run / "last.safetensors", bytes);
    Flags named = parts;
    named.push_back((run / "last.safetensors").string());
    expect_refused(run_program({"eval", run.string()}), 1, named);
    expect_refused(run_program(train_flags(dir(), "damaged", {"--resume", "auto"})), 1, named);
  };
  with(good.substr(0, good.size() / 2), {"truncated?"});
  with("", {"expected a safetensors file of at least 8 bytes, got 0"});
  with(std::string(1000, 'x'), {"expected a safetensors header"});
  std::string header = good;
  header[8] = '[';
  with(header, {});
  EXPECT_EQ(metrics_of(run).size(), 1u);
}

TEST_F(ProgramErrors, FullDiskLeavesTheOldCheckpoint) {
  const auto run = copy_of_run("full");
  const std::string before = read_text(run / "last.safetensors");
  const Flags longer = train_flags(dir(), "full", {"-b", "160", "--epochs", "2", "--resume", "auto"});
  // Room for the model alone, not for the state with its momentum.
  const uint64_t room = before.size() * 3 / 4;
  ASSERT_GT(room, fs::file_size(run / "best.safetensors"));
  const Outcome full = run_program(longer, {.file_bytes = room});
  EXPECT_EQ(full.code, 1) << full.err;
  EXPECT_NE(full.err.find("last.safetensors: cannot write: File too large"), std::string::npos) << full.err;
  EXPECT_EQ(read_text(run / "last.safetensors"), before);
  EXPECT_FALSE(fs::exists(run / "last.safetensors.tmp"));
  // The system kills a program that does not ignore the signal: nothing can be tidied up.
  EXPECT_EQ(run_program(longer, {.file_bytes = room, .ignore_file_signal = false}).code, 128 + SIGXFSZ);
  EXPECT_EQ(read_text(run / "last.safetensors"), before);
  // With room, it goes on from there.
  const Outcome rest = run_program(longer);
  EXPECT_EQ(rest.code, 0) << rest.err;
  const auto rows = metrics_of(run);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[1]["epoch"], 1);
}

TEST_F(ProgramErrors, FolderThatCannotBeWritten) {
  if (geteuid() == 0) GTEST_SKIP() << "root may write everywhere";
  fs::create_directory(dir() / "locked");
  fs::permissions(dir() / "locked", fs::perms::owner_read | fs::perms::owner_exec);
  expect_refused(run_program(train_flags(dir(), "locked/run")), 1, {"locked/run", "Permission denied"});
}

TEST_F(ProgramErrors, FolderThatCannotBe) {
  write_text(dir() / "file", "not a folder");
  expect_refused(run_program(train_flags(dir(), "file/run")), 1,
                 {"[run] cannot make the directory", "file/run", "Not a directory"});
  EXPECT_EQ(read_text(dir() / "file"), "not a folder");
}

// ---- numbers ----

TEST_F(ProgramErrors, NonFiniteLossKeepsTheLastGoodWeights) {
  const Flags flags = train_flags(dir(), "exploded", {"--lr", "1e30", "--opt", "absgd", "--lambda", "2"});
  expect_refused(run_program(flags), 3,
                 {"error: non-finite loss; first layer with a non-finite output: layer", "at epoch 1 step",
                  "last good weights", "exploded/last.safetensors"});
  const TensorFile last = load_tensors(dir() / "exploded/last.safetensors");
  for (const auto& [name, tensor] : last.tensors) {
    if (name == "state.control") continue;  // has the norm of the refused gradient
    const auto values = tensor.to_vector();
    EXPECT_TRUE(std::all_of(values.begin(), values.end(), [](double v) { return std::isfinite(v); })) << name;
  }
  EXPECT_GT(progress_of(dir() / "exploded")["batch"], 0);
  // Batch norm carries what one sample has to all of them.
  EXPECT_NE(read_text(dir() / "exploded/log.txt").find(" and 24 more of 32; the last good"), std::string::npos);
  // It can be evaluated, which says what the weights are worth, and resumed: to fail at the same batch again.
  const Outcome eval = run_program({"eval", (dir() / "exploded").string()});
  EXPECT_EQ(eval.code, 3);
  EXPECT_NE(eval.err.find("last.safetensors: non-finite logits for 60 images"), std::string::npos) << eval.err;
  auto again = flags;
  again.insert(again.end(), {"--resume", "auto"});
  expect_refused(run_program(again), 3, {"non-finite"});
}

TEST_F(ProgramErrors, NonFiniteLossNamesItsSamples) {
  write_white(dir() / "two", {203, 17});
  write_white(dir() / "twelve", {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 319});
  for (const Flags& precision : {Flags{}, Flags{"--amp", "bf16"}})
    for (const Flags& risk :
         {Flags{"--risk", "mean"}, Flags{"--opt", "absgd", "--lambda", "-2"}, Flags{"--risk", "chi2"}}) {
      Flags more = merged(precision, risk);
      more.insert(more.end(), {"-b", "320", "--exist-ok"});
      const std::string where =
          "error: non-finite loss; first layer with a non-finite output: fc1 at epoch 1 step 1; samples ";
      expect_refused(ProgramSuite::train("named", white_flags(dir() / "two", more)), 3,
                     {where + "17, 203 of 320; the last good weights are in"});
      expect_refused(ProgramSuite::train("named", white_flags(dir() / "twelve", more)), 3,
                     {where + "0, 1, 2, 3, 4, 5, 6, 7 and 4 more of 320; the last good weights are in"});
    }
}

// The update is that of many batches; what is not finite is in one of them.
TEST_F(ProgramErrors, NonFiniteLossOfAnAccumulatedStepNamesItsSample) {
  write_white(dir() / "one", {17});
  const Flags more{"-b", "32", "--set", "train.accumulate=10"};
  expect_refused(
      ProgramSuite::train("accumulated", white_flags(dir() / "one", more)), 3,
      {"first layer with a non-finite output: fc1 at epoch 1 step 1; sample 17 of 32; the last good weights"});
  EXPECT_EQ(progress_of(dir() / "accumulated")["batch"], 0);
}

}  // namespace
}  // namespace fulcrum::testing
