// The recipes of ABSGD's official code: what they say, and that each trains.
#include "apps/experiment.h"
#include "apps/risks.h"
#include "program_testing.h"
#include "recipe_testing.h"

namespace fulcrum::testing {
namespace {

using apps::Config;

// The learning rates and epochs of the code: adjust_learning_rate counts epochs from 1.
TEST(Recipes, OfLongTailsFollowTheOfficialSchedule) {
  for (const char* name : {"cifar10-lt", "cifar10-st", "cifar100-lt", "cifar100-st"}) {
    const Config c = recipe(name);
    const Schedule schedule = apps::make_schedule(c);
    for (int epoch = 0; epoch < 200; epoch++) {
      const int counted = epoch + 1;
      const double expected = counted <= 5 ? counted / 5.0 : counted >= 160 ? 0.01 : 1;
      EXPECT_DOUBLE_EQ(schedule.factor(epoch), expected) << name << " " << epoch;
    }
    EXPECT_EQ(c.train.epochs, 200);
    EXPECT_EQ(c.optim.lr, 0.1);
    EXPECT_EQ(c.optim.weight_decay, 2e-4);
    EXPECT_EQ(c.loss.class_weights, "balanced");
    EXPECT_EQ(c.loss.drw_epoch, 160);
    EXPECT_EQ(c.risk.from_epoch, 160);
    EXPECT_EQ(c.risk.u_init, "zero");
    const bool ten = c.data.name == "cifar10";
    EXPECT_EQ(c.train.batch_size, ten ? 100 : 128);
    EXPECT_EQ(c.model.dropout, ten ? 0.2 : 0);
    EXPECT_EQ(c.risk.lambda, ten ? 5 : 3);
    EXPECT_EQ(c.risk.gamma, ten ? 0.7 : 0.45);
    EXPECT_EQ(c.risk.alpha, ten ? 0.5 : 0.3);
    EXPECT_EQ(c.data.imb_factor, ten ? 0.1 : 0.01);
    EXPECT_EQ(c.data.imb_type, std::string(name).ends_with("lt") ? "exp" : "step");
  }
}

TEST(Recipes, OfNoiseFollowTheOfficialSchedule) {
  for (const char* name : {"cifar10-noise", "cifar100-noise"}) {
    const Config c = recipe(name);
    const Schedule schedule = apps::make_schedule(c);
    for (int epoch = 0; epoch < 120; epoch++)
      EXPECT_DOUBLE_EQ(schedule.factor(epoch), epoch < 40 ? 1 : epoch < 80 ? 0.1 : 0.01);
    EXPECT_EQ(c.train.epochs, 120);
    EXPECT_EQ(c.optim.weight_decay, 5e-4);
    EXPECT_EQ(c.optim.max_norm, 5);
    EXPECT_EQ(c.risk.from_epoch, 80);
    EXPECT_EQ(c.risk.lambda, -5);
    EXPECT_EQ(c.risk.additive, 1);
    EXPECT_EQ(c.risk.u_init, "zero");
    EXPECT_EQ(apps::risk_warnings(c), std::vector<std::string>{});
  }
  EXPECT_EQ(recipe("cifar10-noise").optim.weight_decay_of, (std::vector<std::string>{"fc1.*=0.01"}));
  EXPECT_EQ(recipe("cifar100-noise").data.rotation, 20);
  EXPECT_EQ(recipe("cifar100-noise").model.stem, "cifar");
}

// ---- on data ----

class ProgramRecipes : public ::testing::Test {
 protected:
  // CIFAR's binary format: a label byte (two of CIFAR-100), then the planes of 32×32.
  static void write_cifar(const std::filesystem::path& dir, int64_t classes, int64_t train_images) {
    const Philox noise(kSeed, 78);
    const auto file = [&](const std::string& name, int64_t n) {
      std::string bytes;
      for (int64_t i = 0; i < n; i++) {
        if (classes == 100) bytes += static_cast<char>(i % classes / 5);
        bytes += static_cast<char>(i % classes);
        for (uint64_t k = 0; k < 3072; k++)
          bytes += static_cast<char>(noise.below(static_cast<uint64_t>(i) * 3072 + k, 256));
      }
      write_text(dir / name, bytes);
    };
    if (classes == 100) {
      file("train.bin", train_images);
      file("test.bin", classes);
    } else {
      for (int part = 1; part <= 5; part++) file("data_batch_" + std::to_string(part) + ".bin", train_images / 5);
      file("test_batch.bin", classes);
    }
    std::string names;
    for (int64_t k = 0; k < classes; k++) names += "class" + std::to_string(k) + "\n";
    write_text(dir / (classes == 100 ? "fine_label_names.txt" : "batches.meta.txt"), names);
  }
};

// Every phase: the first epoch, and the one in which weights, risk and last learning rate have begun.
TEST_F(ProgramRecipes, Train) {
  const TempDir dir;
  write_cifar(dir / "10", 10, 400);
  write_cifar(dir / "100", 100, 1000);
  for (const std::string name :
       {"cifar10-lt", "cifar10-st", "cifar100-lt", "cifar100-st", "cifar10-noise", "cifar100-noise"}) {
    Flags flags = {"train",
                   "--recipe",
                   name,
                   "--data-dir",
                   dir / (name.starts_with("cifar100") ? "100" : "10"),
                   "-o",
                   dir / name,
                   "--epochs",
                   "2",
                   "--threads",
                   "1",
                   "-b",
                   "16",
                   "--set",
                   "train.limit_batches=1",
                   "--set",
                   "schedule.milestones=[1]",
                   "--set",
                   "risk.from_epoch=1"};
    if (!name.ends_with("noise")) flags.insert(flags.end(), {"--drw-epoch", "1", "--set", "schedule.warmup=1"});
    const Outcome got = run_program(flags);
    ASSERT_EQ(got.code, 0) << name << ": " << got.err;
    // Two batches leave a network of which the last one may be said.
    for (size_t at = 0; (at = got.err.find("warning: ", at)) != std::string::npos; at++)
      EXPECT_EQ(got.err.compare(at + 9, 13, "the test loss"), 0) << got.err;
    const auto rows = metrics_of(dir / name);
    EXPECT_EQ(rows[0]["effective_fraction"], 1.0) << name;
    EXPECT_LT(rows[1]["effective_fraction"], 1.0) << name;
    EXPECT_TRUE(rows[1]["log_u"].is_number()) << name;
  }
}

TEST(ProgramStages, TheSecondTrainsTheHeadOfTheFirst) {
  const TempDir dir;
  write_data(dir / "data");
  const auto run = [&](const std::string& name, const Flags& more) {
    Flags flags = {"train", "--data-dir", dir / "data",   "-o",  dir / name, "--threads", "1",
                   "-b",    "32",         "--imb-factor", "0.1", "--epochs", "1"};
    flags.insert(flags.end(), more.begin(), more.end());
    return run_program(flags);
  };
  ASSERT_EQ(run("first", {"--recipe", "fashion-mnist-lt"}).code, 0);
  const Flags second = {"--recipe", "fashion-mnist-lt-stage2"};
  expect_refused(run("second", second), 2, {"model.pretrained"});
  const Outcome got =
      run("second", {"--recipe", "fashion-mnist-lt-stage2", "--pretrained", dir / "first/last.safetensors"});
  ASSERT_EQ(got.code, 0) << got.err;
  const TensorMap a = load_tensors(dir / "first/last.safetensors").tensors,
                  b = load_tensors(dir / "second/last.safetensors").tensors;
  EXPECT_TRUE(same_bits(a.at("layer3.0.conv2.weight"), b.at("layer3.0.conv2.weight")));
  EXPECT_FALSE(same_bits(a.at("fc.weight"), b.at("fc.weight")));
}

}  // namespace
}  // namespace fulcrum::testing
