// fulcrum data, and training on folders, lists and packs.
#include "program_data_testing.h"

namespace fulcrum::testing {
namespace {

TEST_F(ProgramData, TrainsOnAFolderAndOnItsPackAlike) {
  const Outcome folder = train("folder", on_folder({"--set", "data.pad=1", "-j", "2"}));
  ASSERT_EQ(folder.code, 0) << folder.err;
  const Outcome packed = data("pack", on_folder({(dir_ / "packs").string()}));
  ASSERT_EQ(packed.code, 0) << packed.err;
  EXPECT_EQ(last_line(packed.out)["train"]["images"], 48);
  EXPECT_EQ(last_line(packed.out)["test"]["shape"], json({12, 12, 3}));
  const Outcome pack =
      train("pack", {"--dataset", "pack", "--data-dir", (dir_ / "packs").string(), "--set", "data.pad=1", "-j", "0"});
  ASSERT_EQ(pack.code, 0) << pack.err;
  EXPECT_EQ(metrics_of(dir_ / "folder"), metrics_of(dir_ / "pack"));
  expect_same_tensors(dir_ / "folder/best.safetensors", dir_ / "pack/best.safetensors");
  EXPECT_EQ(run_program({"eval", (dir_ / "folder").string()}).code, 0);
}

TEST_F(ProgramData, TrainsOnShardsAsOnOneFile) {
  const auto pack = [&](const char* out, const Flags& more) {
    Flags flags = merged(on_folder(), more);
    flags.push_back((dir_ / out).string());
    const Outcome got = data("pack", flags);
    EXPECT_EQ(got.code, 0) << got.err;
    return last_line(got.out);
  };
  // Images too small for a megabyte a file: as one file.
  EXPECT_EQ(pack("one", {})["train"]["files"], 1);
  EXPECT_EQ(pack("limit", {"--shard-mb", "1"})["train"]["files"], 1);
  for (int i = 0; i < 3; i++) write_image(concat_text("test/cat/big", i, ".png"), 120, 9);
  const Flags large = {"--set", "data.image_size=150"};  // 67.5 kB: 14 in a megabyte
  EXPECT_EQ(pack("shards", merged({"--shard-mb", "1"}, large))["train"]["files"], 4);
  EXPECT_TRUE(fs::exists(dir_ / "shards/train-00003-of-00004.pack"));
  EXPECT_FALSE(fs::exists(dir_ / "shards/train.pack"));
  ASSERT_EQ(pack("whole", large)["train"]["files"], 1);
  const auto stats = [&](const char* packs) {
    return last_line(data("stats", {"--dataset", "pack", "--data-dir", (dir_ / packs).string()}).out);
  };
  EXPECT_EQ(stats("shards"), stats("whole"));
  const Outcome check = data("check", {"--dataset", "pack", "--data-dir", (dir_ / "shards").string()});
  EXPECT_EQ(check.code, 0) << check.err;
  fs::remove(dir_ / "shards/train-00002-of-00004.pack");
  const Outcome missing = data("check", {"--dataset", "pack", "--data-dir", (dir_ / "shards").string()});
  EXPECT_EQ(missing.code, 1);
  EXPECT_NE(missing.err.find("train-00002-of-00004.pack: expected the shards 0 to 3, this one is not there"),
            std::string::npos)
      << missing.err;
}

TEST_F(ProgramData, ResumesOnMovedFilesButNotOnOthers) {
  ASSERT_EQ(train("run", on_folder()).code, 0);
  fs::rename(root(), dir_ / "moved");
  const Flags longer = on_folder({"--resume", "auto", "--epochs", "2", "--data-dir", dir_ / "moved"});
  const std::string before = read_text(dir_ / "moved/train/cat/101.png");
  write_text(dir_ / "moved/train/cat/101.png", before + "more");  // decodes to the same pixels
  expect_refused(train("run", longer), 1, {"the training data are not those of the checkpoint"});
  write_text(dir_ / "moved/train/cat/101.png", before);
  EXPECT_EQ(train("run", longer).code, 0);
}

TEST_F(ProgramData, TrainsOnListsWithImbalanceNoiseAndBalancedSampling) {
  std::string train_list, test_list;
  for (uint64_t i = 0; i < 24; i++)
    train_list += fmt_path("train", "cat", i) + " 0\n" + fmt_path("train", "dog", i) + " 1\n";
  for (uint64_t i = 0; i < 6; i++) test_list += fmt_path("test", "dog", i) + " 1\n";
  write_text(dir_ / "train.txt", train_list);
  write_text(dir_ / "test.txt", test_list);
  write_text(dir_ / "names.txt", "cat\ndog\n");
  write_text(dir_ / "noise.txt", "0.75 0.25\n0 1\n");
  const Flags on_list = merged(on_folder({"--dataset", "list"}),
                               {"--set", "data.train_list=" + (dir_ / "train.txt").string(), "--set",
                                "data.test_list=" + (dir_ / "test.txt").string(), "--set",
                                "data.class_names=" + (dir_ / "names.txt").string(), "--set", "data.image_size=8"});
  const Flags noisy =
      merged(on_list, {"--set", "data.noise_type=matrix", "--set", "data.noise_matrix=" + (dir_ / "noise.txt").string(),
                       "--imb-type", "exp", "--imb-factor", "0.5", "--set", "data.sampler=class-balanced", "-b", "12"});
  const Outcome run = train("list", noisy);
  ASSERT_EQ(run.code, 0) << run.err;
  // 24 cats, of which a quarter are dogs now, and 12 dogs.
  std::istringstream labels(read_text(dir_ / "list/noisy_labels.txt"));
  int64_t counts[2] = {0, 0};
  for (std::string line; std::getline(labels, line);)
    if (!line.starts_with('#')) counts[std::stoi(line)]++;
  EXPECT_EQ(counts[0], 18);
  EXPECT_EQ(counts[1], 18);
  const Outcome stats = data("stats", merged(on_list, {"--imb-type", "exp", "--imb-factor", "0.5"}));
  EXPECT_EQ(last_line(stats.out)["counts"], json({24, 12}));
  EXPECT_EQ(last_line(stats.out)["class_names"], json({"cat", "dog"}));
  EXPECT_EQ(last_line(stats.out)["shape"], json({8, 8, 3}));
  write_text(dir_ / "noise.txt", "0.75 0.25\n0.5 0.4\n");
  expect_refused(train("refused", noisy), 2, {"data.noise_matrix: ", "noise.txt: line 2: expected a sum of 1"});
  EXPECT_EQ(data("check", on_list).code, 0);
  write_text(dir_ / "names.txt", "cat\ndog\neel\n");
  expect_refused(train("refused", on_list), 2,
                 {"data.class_names: expected 2 names, one a line", "got 3 in", "names.txt"});
  EXPECT_FALSE(fs::exists(dir_ / "refused"));
}

TEST_F(ProgramData, ListsWhoseLabelsAreNotThoseOfTheClassesAreRefused) {
  const std::string two = fmt_path("train", "cat", 0) + " 0\n" + fmt_path("train", "dog", 0) + " 1\n";
  const std::string third = fmt_path("train", "cat", 1) + " 2\n", fourth = fmt_path("train", "dog", 1) + " 3\n";
  const auto list = [&](const char* key, const std::string& text) {
    write_text(dir_ / concat_text(key, ".txt"), text);
    return Flags{"--set", concat_text("data.", key, "=", (dir_ / concat_text(key, ".txt")).string())};
  };
  const auto flags = [&](const std::string& train_list, const std::string& test_list, const Flags& more = {}) {
    Flags all = on_folder({"--dataset", "list"});
    for (const Flags& part : {list("train_list", train_list), list("test_list", test_list), more})
      all.insert(all.end(), part.begin(), part.end());
    return all;
  };
  const std::string three_names = "cat\ndog\neel\n";
  // More labels than names.
  expect_refused(train("refused", flags(two + third + fourth, two, list("class_names", three_names))), 2,
                 {"data.train_list: [list] ", "train_list.txt: line 4: expected a label in [0, 3), got 3",
                  "; the classes are those of data.class_names\n"});
  expect_refused(train("refused", flags(two + third + fourth, two, list("class_names", "cat\n"))), 2,
                 {"data.train_list: [list] ", "line 2: expected a label in [0, 1), got 1", "\nand 2 more"});
  // More names than labels.
  expect_refused(train("refused", flags(two, two, list("class_names", three_names))), 2,
                 {"data.class_names: expected 2 names, one a line", "got 3 in", "class_names.txt"});
  // A class without images, which is one where the names say so.
  expect_refused(train("refused", flags(two + fourth, two)), 2,
                 {"data.train_list: [list] ", "train_list.txt: expected samples of every class", "got none of 2\n"});
  const Outcome named = train("named", flags(two + fourth, two, list("class_names", three_names + "fox\n")));
  EXPECT_EQ(named.code, 0) << named.err;
  // Labels to test on that training does not have.
  expect_refused(train("refused", flags(two, two + third)), 2,
                 {"data.test_list: [list] ", "test_list.txt: line 3: expected a label in [0, 2), got 2",
                  "; the classes are those of data.train_list\n"});
  expect_refused(train("refused", flags(two, two, list("val_list", third))), 2,
                 {"data.val_list: [list] ", "val_list.txt: line 1: expected a label in [0, 2), got 2"});
  EXPECT_FALSE(fs::exists(dir_ / "refused"));
  // A line that is wrong whatever the classes are stays an error of the file.
  expect_refused(train("refused", flags(two, third + "test/cat/100.png\n")), 1,
                 {"error: [list] ", "test_list.txt: line 1: expected a label in [0, 2), got 2\nand 1 more"});
  EXPECT_EQ(data("check", flags(two, two + third)).code, 1);
}

TEST_F(ProgramData, StatsAreWhatTrainingUses) {
  const Outcome stats = data("stats", on_folder());
  ASSERT_EQ(stats.code, 0) << stats.err;
  const json values = last_line(stats.out);
  EXPECT_EQ(values["counts"], json({24, 24}));
  EXPECT_EQ(values["imbalance_ratio"], 1.0);
  EXPECT_EQ(values["medium"], 2);
  EXPECT_NEAR(values["mean"][1].get<double>(), 0.5, 0.02);  // uniform noise
  EXPECT_NEAR(values["std"][2].get<double>(), 0.289, 0.01);
  ASSERT_TRUE(stats.out.starts_with("[data]\nmean = [0.")) << stats.out;
  // Its lines are settings; the same numbers given by hand make the same run.
  const auto list = [&](const char* key) { return concat_text("data.", key, "=", values[key].dump()); };
  ASSERT_EQ(train("own", on_folder()).code, 0);
  ASSERT_EQ(train("given", on_folder({"--set", list("mean"), "--set", list("std")})).code, 0);
  EXPECT_EQ(metrics_of(dir_ / "own"), metrics_of(dir_ / "given"));
  ASSERT_EQ(train("other", on_folder({"--set", "data.mean=[0, 0, 0]", "--set", "data.std=[1, 1, 1]"})).code, 0);
  EXPECT_NE(metrics_of(dir_ / "own"), metrics_of(dir_ / "other"));
  expect_refused(train("refused", on_folder({"--set", "data.mean=[0]", "--set", "data.std=[1]"})), 2,
                 {"data.mean: expected 3 numbers, one for each channel, got 1"});
}

TEST_F(ProgramData, BadImagesStopTheRunOrAreLeftOut) {
  write_text(root() / "train/cat/101.png", read_text(root() / "train/cat/101.png").substr(0, 80));
  for (int i = 0; i < 11; i++) write_text(root() / concat_text("test/dog/bad", 10 + i, ".jpg"), "x");
  expect_refused(train("refused", on_folder({"--set", "data.image_size=12"})), 1, {"train/cat/101.png: corrupt PNG"});
  const Outcome run = train("run", on_folder({"--set", "data.on_bad_image=skip"}));
  ASSERT_EQ(run.code, 0) << run.err;
  for (const char* part : {"train: left out 1 of 48 images", "cat/101.png: corrupt PNG",
                           "test: left out 11 of 23 images", "bad19.jpg", "and 1 more"})
    EXPECT_NE(run.err.find(part), std::string::npos) << part << " in: " << run.err;
  EXPECT_EQ(run.err.find("bad20.jpg"), std::string::npos);
  const std::string skipped = read_text(dir_ / "run/skipped_images.txt");
  EXPECT_NE(skipped.find("train/cat/101.png: "), std::string::npos) << skipped;
  EXPECT_NE(skipped.find("bad20.jpg: "), std::string::npos) << skipped;
}

TEST_F(ProgramData, CheckListsEverythingThatIsWrong) {
  const Outcome good = data("check", on_folder());
  EXPECT_EQ(good.code, 0) << good.err;
  EXPECT_EQ(last_line(good.out)["train"]["counts"], json({24, 24}));
  EXPECT_EQ(last_line(good.out)["problems"], 0);
  write_text(root() / "train/cat/101.png", "x");
  write_image("test/dog/103.png", 5, 1);
  fs::create_directories(root() / "train/eel");
  const Outcome bad = data("check", on_folder());
  EXPECT_EQ(bad.code, 1);
  for (const char* part :
       {"problem: [folder] ", "train/eel: expected images of class 'eel', got none", "missing: 'eel'",
        "train/cat/101.png: expected a JPEG or PNG", "test/dog/103.png: expected 12x12", "1 images differ",
        "train: 48 images of 3 classes (0 many, 2 medium, 1 few)"})
    EXPECT_NE(bad.err.find(part), std::string::npos) << part << " in: " << bad.err;
  EXPECT_EQ(last_line(bad.out)["problems"], 4);
  EXPECT_EQ(last_line(bad.out)["train"]["bad_images"], 1);
  fs::remove_all(root() / "test");
  EXPECT_EQ(data("check", on_folder()).code, 1);
}

TEST_F(ProgramData, CheckOfAList) {
  write_text(dir_ / "train.txt", "train/cat/100.png 0\ntrain/dog/100.png 2\ntrain/dog/100.png 0\nno.png 0\n");
  write_text(dir_ / "test.txt", "train/cat/100.png 0\ntest/cat/100.png 9\n");
  const Outcome bad = data(
      "check", merged(on_folder({"--dataset", "list"}), {"--set", "data.train_list=" + (dir_ / "train.txt").string(),
                                                         "--set", "data.test_list=" + (dir_ / "test.txt").string()}));
  EXPECT_EQ(bad.code, 1);
  for (const char* part :
       {"train.txt: line 3: 'train/dog/100.png' has label 0 here and 2 in line 2", "no.png: cannot open",
        "test.txt: line 2: expected a label in [0, 3), got 9", "expected images of class 1 ('1'), got none", "test.txt",
        "'train/cat/100.png' is a training image, too"})
    EXPECT_NE(bad.err.find(part), std::string::npos) << part << " in: " << bad.err;
}

TEST_F(ProgramData, SplitsInAndOutOfDistribution) {
  std::string rows = "split,y,filename\n";
  const auto part = [&](const std::string& split, uint64_t n) {
    for (const char* name : {"cat", "dog"})
      for (uint64_t i = 0; i < n; i++) {
        const std::string file = concat_text(split, "_", name, i, ".png");
        write_image("train/" + file, 12, 2 * (split.size() * 1000 + i) + (*name == 'd'));
        rows += concat_text(split, ",", *name == 'd', ",", file, "\n");
      }
  };
  part("train", 24), part("val", 5), part("test", 6), part("id_val", 7), part("id_test", 8);
  write_text(root() / "metadata.csv", rows);
  const Flags wild = {"--dataset",  "iwildcam",
                      "--data-dir", root().string(),
                      "--set",      "data.image_size=8",
                      "--set",      "data.crop_mode=squash",
                      "--set",      "data.random_resized_crop=true",
                      "--set",      R"(data.eval_splits=["id_test", "val"])"};
  const Outcome check = data("check", wild);
  ASSERT_EQ(check.code, 0) << check.err;
  EXPECT_EQ(last_line(check.out)["id_test"]["images"], 16);
  const Outcome run = train("wild", merged(wild, {"--epochs", "2"}));
  ASSERT_EQ(run.code, 0) << run.err;
  const json result = last_line(run.out);
  EXPECT_TRUE(result["splits"]["id_test"]["macro_f1"].is_number());
  EXPECT_FALSE(result["splits"].contains("val"));
  EXPECT_TRUE(result["val"]["top1"].is_number());
  EXPECT_EQ(result["best"]["selected_on"], "val");
  EXPECT_TRUE(result["best"]["test_macro_f1"].is_number());
  EXPECT_TRUE(result["best"]["splits"]["id_test"]["top1"].is_number());
  const Outcome eval = run_program({"eval", (dir_ / "wild").string()});
  EXPECT_EQ(last_line(eval.out)["splits"]["id_test"]["top1"], result["splits"]["id_test"]["top1"]) << eval.err;
  EXPECT_EQ(last_line(eval.out)["val"]["loss"], result["val"]["loss"]);
  // A pack has the same parts.
  const Outcome packed =
      data("pack", merged({wild.begin(), wild.begin() + 8}, {"--set", wild.back(), (dir_ / "packs").string()}));
  ASSERT_EQ(packed.code, 0) << packed.err;
  const Outcome from_pack =
      run_program({"eval", (dir_ / "wild").string(), "--dataset", "pack", "--data-dir", dir_ / "packs", "--set",
                   "data.image_size=0", "--set", "data.crop_mode=center"});
  EXPECT_EQ(last_line(from_pack.out)["splits"], last_line(eval.out)["splits"]) << from_pack.err;
  fs::remove(root() / "train/id_test_cat3.png");
  const Outcome missing = data("check", wild);
  EXPECT_EQ(missing.code, 1);
  EXPECT_EQ(last_line(missing.out)["id_test"]["missing_files"], 1);
  EXPECT_NE(missing.err.find("id_test: 1 files are missing"), std::string::npos) << missing.err;
  expect_refused(train("refused", merged(wild, {"--val-fraction", "0.1"})), 2, {"data.val_fraction: the part val"});
  expect_refused(train("refused", {"--set", "data.eval_splits=[\"val\"]"}), 2,
                 {"data.eval_splits: data.name = fashion-mnist has no parts"});
  expect_refused(train("refused", on_folder({"--set", "data.scale=[0.5, 0.2]"})), 2,
                 {"data.scale: expected two numbers"});
  expect_refused(train("refused", on_folder({"--set", "data.resize_size=9"})), 2,
                 {"data.resize_size: expected at least"});
}

TEST_F(ProgramData, ListsUnderTheirPublishedNames) {
  for (const char* part : {"train", "val", "test"}) {
    const std::string folder = std::string(part) == "val" ? "train" : part;
    std::string list;
    for (uint64_t i = 0; i < 6; i++)
      list += fmt_path(folder, "cat", i + (*part == 'v' ? 6 : 0)) + " 0\n" +
              fmt_path(folder, "dog", i + (*part == 'v' ? 6 : 0)) + " 1\n";
    write_text(root() / concat_text("ImageNet_LT_", part, ".txt"), list);
  }
  const Flags lt = on_folder({"--dataset", "imagenet-lt", "--set", R"(data.eval_splits=["val"])"});
  const Outcome check = data("check", lt);
  EXPECT_EQ(check.code, 0) << check.err;
  EXPECT_EQ(last_line(check.out)["val"]["counts"], json({6, 6}));
  EXPECT_EQ(last_line(check.out)["train"]["few"], 2);
  // A sweep selects on that part and holds nothing else out.
  Flags sweep = merged(lt, {"--grid", "optim.lr=0.01,0.1", "--epochs", "1", "-o", dir_ / "sweep"});
  sweep.insert(sweep.begin(), "sweep");
  const Outcome swept = run_program(sweep);
  ASSERT_EQ(swept.code, 0) << swept.err;
  EXPECT_EQ(swept.err.find("data.val_fraction"), std::string::npos) << swept.err;
  EXPECT_TRUE(last_line(swept.out)["points"][0]["val"]["mean"].is_number()) << swept.out;
  EXPECT_NE(read_text(dir_ / "sweep/sweep.md").find("on the part val"), std::string::npos);
}

TEST_F(ProgramData, OtherFormats) {
  write_data(dir_ / "data");
  const Flags idx = {"--dataset", "mnist", "--data-dir", (dir_ / "data").string()};
  EXPECT_EQ(last_line(data("check", idx).out)["test"]["images"], 60);
  EXPECT_EQ(train("mnist", {"--dataset", "mnist", "-b", "160"}).code, 0);
  const Outcome pack = data("pack", merged(idx, {(dir_ / "packs").string()}));
  EXPECT_EQ(last_line(pack.out)["train"]["shape"], json({28, 28, 1}));
  write_text(dir_ / "packs/test.pack", "12345678");
  const Flags packs = {"--dataset", "pack", "--data-dir", (dir_ / "packs").string()};
  const Outcome check = data("check", packs);
  EXPECT_EQ(check.code, 1);
  EXPECT_NE(check.err.find("problem: [load_tensors] "), std::string::npos) << check.err;
  expect_refused(train("refused", packs), 1, {"packs/test.pack"});
  const Outcome bench = data("bench", merged(idx, {"--seconds", "0.01"}));
  EXPECT_GT(last_line(bench.out)["images_per_s"], 0) << bench.err;
}

TEST_F(ProgramData, RefusesNonsense) {
  EXPECT_EQ(data("frobnicate", {}).code, 2);
  EXPECT_EQ(data("pack", on_folder()).code, 2);
  expect_refused(data("pack", on_folder({"--imb-type", "exp", dir_ / "packs"})), 2,
                 {"data.imb_type: a pack holds the whole data set"});
  expect_refused(data("check", {"--dataset", "folder"}), 2, {"data.dir: say where folder lies"});
  expect_refused(train("refused", {"--dataset", "folder", "--data-dir", (dir_ / "no").string()}), 1,
                 {"no/train: expected a folder of classes, there is none"});
  EXPECT_FALSE(fs::exists(dir_ / "refused"));
}

}  // namespace
}  // namespace fulcrum::testing
