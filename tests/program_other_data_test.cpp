// Data that a run was not trained on, names in other bytes than UTF-8, and packs that belong together.
#include "program_data_testing.h"

namespace fulcrum::testing {
namespace {

// A run's images are normalised as those that it was trained on, and its classes are those that it knows.
TEST_F(ProgramData, OtherDataAreEvaluatedAsTheRunSawThem) {
  const Outcome run = train("run", on_folder({"--epochs", "1"}));
  ASSERT_EQ(run.code, 0) << run.err;
  const fs::path dark = dir_ / "dark", renamed = dir_ / "renamed";
  fs::copy(root(), dark, fs::copy_options::recursive);
  for (const char* name : {"cat", "dog"})
    for (uint64_t i = 0; i < 24; i++) {
      const Bytes file = png_file(Image{12, 12, 3, std::vector<uint8_t>(12 * 12 * 3, static_cast<uint8_t>(i))});
      write_text(dark / fmt_path("train", name, i), {file.begin(), file.end()});
    }
  const Outcome same = run_program({"eval", dir_ / "run", "--data-dir", dark.string()});
  ASSERT_EQ(same.code, 0) << same.err;
  EXPECT_EQ(last_line(same.out)["loss"], last_line(run.out)["loss"]);
  fs::copy(root(), renamed, fs::copy_options::recursive);
  for (const char* part : {"train", "test"}) fs::rename(renamed / part / "cat", renamed / part / "zebra");
  expect_refused(run_program({"eval", dir_ / "run", "--data-dir", renamed.string()}), 1,
                 {"expected the classes that it was trained on: class 0 is cat there and dog here"});
  const Outcome tuned =
      train("tuned", {"--dataset", "folder", "--data-dir", renamed.string(), "--pretrained", dir_ / "run"});
  ASSERT_EQ(tuned.code, 0) << tuned.err;
  EXPECT_NE(tuned.err.find("fc starts anew: class 0 is cat there and dog here"), std::string::npos) << tuned.err;
}

// Names of folders may be any bytes; JSON has UTF-8 alone.
TEST_F(ProgramData, NamesThatAreNotUtf8) {
  for (const char* part : {"train", "test"}) fs::rename(root() / part / "cat", root() / part / "caf\351");
  const Outcome run = train("run", on_folder());
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_EQ(run_program({"eval", dir_ / "run"}).code, 0);
  EXPECT_EQ(data("stats", on_folder()).code, 0);
  expect_refused(data("pack", on_folder({(dir_ / "packs").string()})), 1, {"expected names of classes in UTF-8"});
}

TEST_F(ProgramData, AFolderMayHaveAPartThatChooses) {
  add_images("val", 4);
  const Outcome without = train("without", on_folder());
  EXPECT_NE(without.err.find("val is not used; data.eval_splits=[\"val\"]"), std::string::npos) << without.err;
  const Outcome run = train("run", on_folder({"--set", R"(data.eval_splits=["val"])", "--eval-metric", "balanced"}));
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_EQ(last_line(run.out)["best"]["selected_on"], "val");
  EXPECT_NE(run.err.find("  val balanced "), std::string::npos) << run.err;
  fs::remove_all(root() / "test");
  expect_refused(train("refused", on_folder({"--set", R"(data.eval_splits=["val"])"})), 2,
                 {"val is the test set where there is no folder test"});
}

TEST_F(ProgramData, PacksOfOneDataSetAppearTogether) {
  const std::string packs = dir_ / "packs";
  ASSERT_EQ(data("pack", on_folder({packs})).code, 0);
  const std::string before = read_text(dir_ / "packs/train.pack");
  write_image(fmt_path("train", "cat", 0), 12, 999);
  const std::string last = read_text(root() / fmt_path("test", "dog", 5));
  write_text(root() / fmt_path("test", "dog", 5), last.substr(0, last.size() / 2));
  EXPECT_EQ(data("pack", on_folder({packs})).code, 1);
  EXPECT_TRUE(read_text(dir_ / "packs/train.pack") == before);
  EXPECT_EQ(std::distance(fs::directory_iterator(packs), {}), 2);
}

}  // namespace
}  // namespace fulcrum::testing
