// The recipes of the large benchmarks: what they say, and that each trains on files in its data set's layout.
#include <fulcrum/layers/models.h>

#include "apps/experiment.h"
#include "apps/smoke.h"
#include "benchmark_layouts.h"
#include "recipe_testing.h"

namespace fulcrum::testing {
namespace {

using apps::Config;
using Ints = std::vector<int64_t>;

// ---- what they say ----

// Of wilds-competition/main.py.
TEST(BenchmarkRecipes, IwildcamFollowsTheOfficialCommand) {
  const Config c = recipe("iwildcam");
  const Schedule schedule = apps::make_schedule(c);
  for (int epoch = 0; epoch < 36; epoch++) EXPECT_EQ(schedule.factor(epoch), epoch < 18 ? 1 : 0.5);
  EXPECT_EQ(c.optim.name, "adam");
  EXPECT_EQ(c.optim.lr, 4e-5);
  EXPECT_EQ(c.optim.weight_decay, 0);
  EXPECT_EQ(c.train.epochs, 36);
  EXPECT_EQ(c.train.batch_size, 16);
  EXPECT_EQ(c.loss.drw_epoch, 5);
  EXPECT_EQ(c.loss.cb_max_count, 10);
  EXPECT_EQ(c.risk.lambda, 1.1);
  EXPECT_EQ(c.risk.gamma, 0.9);
  EXPECT_EQ(c.risk.alpha, 1);
  EXPECT_EQ(c.risk.u_init, "zero");
  EXPECT_EQ(c.risk.from_epoch, 18);
  EXPECT_EQ(c.data.image_size, 448);
}

// Of noisy_label/train.py with dataset_type clothing1M.
TEST(BenchmarkRecipes, Clothing1mFollowsTheOfficialCommand) {
  const Config c = recipe("clothing1m");
  const Schedule schedule = apps::make_schedule(c);
  for (int epoch = 0; epoch < 10; epoch++) EXPECT_EQ(schedule.factor(epoch), epoch < 5 ? 1 : 0.1);
  EXPECT_EQ(c.train.epochs, 10);
  EXPECT_EQ(c.train.batch_size, 128);
  EXPECT_EQ(c.optim.lr, 0.005);
  EXPECT_EQ(c.optim.weight_decay, 1e-3);
  EXPECT_EQ(c.optim.max_norm, 5);
  EXPECT_EQ(c.risk.lambda, -5);
  EXPECT_EQ(c.risk.gamma, 0.5);
  EXPECT_EQ(c.risk.alpha, 0.5);
  EXPECT_EQ(c.risk.additive, 1);
  EXPECT_EQ(c.risk.from_epoch, 5);
  EXPECT_TRUE(c.data.random_crop);
}

TEST(BenchmarkRecipes, NetworksAndSizes) {
  const std::tuple<const char*, const char*, int64_t, int64_t> rows[] = {
      {"imagenet-lt", "resnet50", 90, 512},      {"imagenet-lt-resnet10", "resnet10", 30, 128},
      {"places-lt", "resnet152", 30, 128},       {"inaturalist18", "resnet50", 90, 512},
      {"iwildcam", "resnet50", 36, 16},          {"clothing1m", "resnet50", 10, 128},
      {"tiny-imagenet-lt", "resnet18", 120, 128}};
  for (const auto& [name, model, epochs, batch] : rows) {
    const Config c = recipe(name);
    EXPECT_EQ(c.model.name, model) << name;
    EXPECT_EQ(c.train.epochs, epochs) << name;
    EXPECT_EQ(c.train.batch_size, batch) << name;
    EXPECT_EQ(c.risk.name, "kl") << name;
  }
}

// ---- --smoke ----

// Of classifier-balancing's cls_crt.yaml: a new head on a frozen backbone, drawn class by class.
TEST(BenchmarkRecipes, SecondStagesFollowClsCrt) {
  const std::tuple<const char*, const char*, int64_t, int64_t, double, double> rows[] = {
      {"imagenet-lt-stage2", "resnet50", 10, 512, 0.2, 5e-4},
      {"places-lt-stage2", "resnet152", 10, 256, 0.1, 5e-4},
      {"inaturalist18-stage2", "resnet50", 30, 512, 0.2, 1e-4}};
  for (const auto& [name, model, epochs, batch, lr, decay] : rows) {
    Config c;
    apps::load_toml(c, apps::recipe_text(name), name);
    c.model.pretrained = "first.safetensors";  // without one finish() refuses it
    apps::finish(c);
    EXPECT_EQ(c.model.name, model) << name;
    EXPECT_EQ(c.train.epochs, epochs) << name;
    EXPECT_EQ(c.train.batch_size, batch) << name;
    EXPECT_EQ(c.optim.lr, lr) << name;
    EXPECT_EQ(c.optim.weight_decay, decay) << name;
    EXPECT_EQ(c.schedule.kind, "cosine") << name;
    EXPECT_EQ(c.model.freeze, "backbone") << name;
    EXPECT_TRUE(c.model.reset_head) << name;
    EXPECT_EQ(c.data.sampler, "class-balanced") << name;
    EXPECT_EQ(c.risk.name, "mean") << name;
  }
}

TEST(Smoke, HasAnEpochForEachPhaseInTheirOrder) {
  Config c = recipe("iwildcam");
  apps::shorten_for_smoke(c);
  EXPECT_EQ(c.train.epochs, 3);
  EXPECT_EQ(c.train.limit_batches, 2);
  EXPECT_EQ(c.loss.drw_epoch, 1);
  EXPECT_EQ(c.risk.from_epoch, 2);
  const Schedule schedule = apps::make_schedule(c);
  EXPECT_EQ(schedule.factor(1), 1);
  EXPECT_EQ(schedule.factor(2), 0.5);
  c = recipe("cifar10-lt");  // warm-up to 5, lr at 159, the rest at 160
  apps::shorten_for_smoke(c);
  EXPECT_EQ(c.train.epochs, 4);
  EXPECT_EQ(c.schedule.warmup, 1);
  EXPECT_EQ(c.schedule.milestones, (Ints{2}));
  EXPECT_EQ(c.risk.from_epoch, 3);
  EXPECT_EQ(c.loss.drw_epoch, 3);
}

TEST(Smoke, KeepsWhatNeverComesAndWhatIsThereFromTheStart) {
  Config c;
  c.train.epochs = 50;
  c.schedule.kind = "cosine";
  c.risk.name = "kl";
  c.risk.from_epoch = 60;
  c.loss.class_weights = "balanced";
  apps::shorten_for_smoke(c);
  EXPECT_EQ(c.train.epochs, 2);
  EXPECT_GE(c.risk.from_epoch, 2);
  EXPECT_EQ(c.loss.drw_epoch, 0);
  c = {};
  c.train.epochs = 1;
  apps::shorten_for_smoke(c);
  EXPECT_EQ(c.train.epochs, 1);
}

// ---- on data ----

class ProgramBenchmarks : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    dir_ = new TempDir;
    const auto net = make_model("resnet10", {.seed = 1});
    save_tensors(*dir_ / "pretrained.safetensors", {net->state_dict(), {}});
  }
  static void TearDownTestSuite() { delete dir_; }
  void SetUp() override {
#if !defined(FULCRUM_WITH_PNG) || !defined(FULCRUM_WITH_JSON)
    GTEST_SKIP() << "a build without libpng or nlohmann-json";
#endif
  }
  static std::vector<json> smoke(const std::string& name, const std::string& data, const Flags& more = {}) {
    write_benchmark(data, *dir_ / data);
    Flags flags = {"train",     "--recipe",   name,      "--smoke",  "--data-dir", *dir_ / data,
                   "-o",        *dir_ / name, "--model", "resnet10", "-b",         "4",
                   "--threads", "1",          "-j",      "1",        "--set",      "data.image_size=32"};
    flags.insert(flags.end(), more.begin(), more.end());
    const Outcome got = run_program(flags);
    EXPECT_EQ(got.code, 0) << name << ": " << got.err;
    return metrics_of(*dir_ / name);
  }
  /// `train` of a recipe on its data, which `break_it` has changed since they were written.
  static Outcome broken(const std::string& name, const std::function<void(const std::filesystem::path&)>& break_it,
                        const Flags& more = {}) {
    const TempDir data;
    write_benchmark(recipe(name).data.name, data / "d");
    break_it(data / "d");
    Flags flags = {"train",   "--recipe",      name, "--smoke", "--data-dir", data / "d", "-o",    data / "run",
                   "--model", "resnet10",      "-b", "4",       "--threads",  "1",        "--set", "data.image_size=32",
                   "--set",   "data.workers=0"};
    flags.insert(flags.end(), more.begin(), more.end());
    return run_program(flags);
  }
  /// The weights are equal in the epochs before the last, and not in it.
  static void expect_late_risk(const std::vector<json>& rows, size_t epochs) {
    ASSERT_EQ(rows.size(), epochs);
    for (size_t i = 0; i < epochs; i++) {
      const double fraction = rows[i]["effective_fraction"].get<double>();
      if (i + 1 < epochs) EXPECT_EQ(fraction, 1) << i;
      else EXPECT_LT(fraction, 1);
    }
  }
  static Flags pretrained() { return {"--pretrained", *dir_ / "pretrained.safetensors"}; }
  static Flags resized(Flags flags = {}) {
    flags.insert(flags.end(), {"--set", "data.resize_size=36"});
    return flags;
  }

 private:
  static inline TempDir* dir_ = nullptr;
};

TEST_F(ProgramBenchmarks, Iwildcam) {
  const auto rows = smoke("iwildcam", "iwildcam", pretrained());
  expect_late_risk(rows, 3);
  EXPECT_EQ(rows[2]["lr"], 2e-5);
  for (const char* split : {"id_val", "id_test"}) {
    EXPECT_TRUE(rows[2]["splits"][split]["top1"].is_number()) << split;
    EXPECT_TRUE(rows[2]["splits"][split]["macro_f1"].is_number()) << split;
  }
  EXPECT_TRUE(rows[2]["val"]["macro_f1"].is_number());
}

TEST_F(ProgramBenchmarks, ImagenetLt) {
  expect_late_risk(smoke("imagenet-lt", "imagenet-lt", resized()), 2);
  const auto rows = smoke("imagenet-lt-resnet10", "imagenet-lt", resized());
  expect_late_risk(rows, 3);
  EXPECT_NEAR(rows[2]["lr"].get<double>(), 0.001, 1e-12);
}

TEST_F(ProgramBenchmarks, PlacesLt) { expect_late_risk(smoke("places-lt", "places-lt", resized(pretrained())), 3); }

TEST_F(ProgramBenchmarks, Inaturalist18) { expect_late_risk(smoke("inaturalist18", "inaturalist18", resized()), 2); }

TEST_F(ProgramBenchmarks, SecondStages) {
  for (const std::string set : {"imagenet-lt", "places-lt", "inaturalist18"})
    EXPECT_EQ(smoke(set + "-stage2", set, resized(pretrained())).size(), 2u) << set;
}

TEST_F(ProgramBenchmarks, Clothing1m) {
  const auto rows = smoke("clothing1m", "clothing1m", resized(pretrained()));
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0]["inv_lambda"], 0);
  EXPECT_FALSE(rows[0].contains("log_u"));
  EXPECT_EQ(rows[1]["inv_lambda"], -0.2);
  EXPECT_EQ(rows[0]["lr"], 0.005);
  EXPECT_NEAR(rows[1]["lr"].get<double>(), 5e-4, 1e-12);
}

TEST_F(ProgramBenchmarks, TinyImagenetLt) {
  expect_late_risk(smoke("tiny-imagenet-lt", "tiny-imagenet", {"--imb-factor", "0.2"}), 2);
}

// ---- what is wrong with the files ----

void append(const std::filesystem::path& file, const std::string& text) { std::ofstream(file, std::ios::app) << text; }

TEST_F(ProgramBenchmarks, WrongListsAreNamedWithFileAndLine) {
  const auto train_list = [](const std::string& line) {
    return broken(
        "imagenet-lt", [&](const auto& dir) { append(dir / "ImageNet_LT_train.txt", line); }, resized());
  };
  expect_refused(train_list("train/n0144076/a.JPEG\n"), 1, {"ImageNet_LT_train.txt: line 24: expected 'path label'"});
  expect_refused(train_list("../a.JPEG 1\n"), 1,
                 {"ImageNet_LT_train.txt: line 24: expected a path below", "'../a.JPEG'"});
  expect_refused(train_list("/etc/a.JPEG 1\n"), 1, {"line 24: expected a path relative to", "'/etc/a.JPEG'"});
  expect_refused(
      train_list("train/b.JPEG 6\n"), 2,
      {"data.train_list: [list] ", "ImageNet_LT_train.txt: expected samples of every class", "none of 4, 5"});
  const auto test_list = [&](const auto& dir) { append(dir / "ImageNet_LT_test.txt", "test/b.JPEG 4\n"); };
  expect_refused(broken("imagenet-lt", test_list, resized()), 2,
                 {"data.test_list: [list] ", "ImageNet_LT_test.txt: line 9: expected a label in [0, 4), got 4"});
  expect_refused(broken("iwildcam", [](const auto& dir) { append(dir / "metadata.csv", "train,12\n"); }), 1,
                 {"metadata.csv: line", "expected 9 fields, as the header has, got 2"});
  for (const char* column : {"split", "y", "filename"}) {
    const auto without = [&](const auto& dir) {
      std::string text = read_text(dir / "metadata.csv");
      const std::string name = std::string(",") + column + ",", header = "," + text.substr(0, text.find('\n')) + ",";
      text.replace(header.find(name), name.size() - 2, "other");
      write_text(dir / "metadata.csv", text);
    };
    expect_refused(broken("iwildcam", without), 1,
                   {concat_text("metadata.csv: line 1: expected one column '", column, "'")});
  }
}

TEST_F(ProgramBenchmarks, CorruptJpegsStopTheRunOrAreCounted) {
#ifndef FULCRUM_WITH_JPEG
  GTEST_SKIP() << "a build without libjpeg";
#endif
  const Tensor jpeg = load_tensors(source_path("tests/golden/images.safetensors")).tensors.at("jpeg_420.file");
  const std::string whole(reinterpret_cast<const char*>(jpeg.data<uint8_t>()), static_cast<size_t>(jpeg.numel()));
  const std::string path = "train/n01440761/n01440761_0.JPEG";
  const auto truncate = [&](const auto& dir) { write_text(dir / path, whole.substr(0, whole.size() / 2)); };
  const auto intact = [&](const auto& dir) { write_text(dir / path, whole); };
  EXPECT_EQ(broken("imagenet-lt", intact, resized()).code, 0);
  Flags all = resized({"-b", "23"});
  expect_refused(broken("imagenet-lt", truncate, all), 1, {path, "JPEG"});
  all.insert(all.end(), {"--set", "data.on_bad_image=skip"});
  const Outcome got = broken("imagenet-lt", truncate, all);
  EXPECT_EQ(got.code, 0) << got.err;
  EXPECT_NE(got.err.find("train: left out 1 of 23 images"), std::string::npos) << got.err;
}

TEST_F(ProgramBenchmarks, APretrainedFileOfAnotherNetworkIsNamedWithItsTensors) {
  const Outcome got = broken(
      "clothing1m", [](const auto&) {}, merged(resized(pretrained()), {"--model", "resnet18"}));
  expect_refused(got, 1, {"[pretrained] ", "pretrained.safetensors", "layer1.1.conv1.weight"});
}

}  // namespace
}  // namespace fulcrum::testing
