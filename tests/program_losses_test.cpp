// Every loss and every risk by its name: it trains, the run says what it was, and bad values are
// refused.
#include "program_testing.h"

namespace fulcrum::testing {
namespace {

class ProgramLosses : public ProgramSuite {
 protected:
  // Two batches an epoch of a long tail.
  static Outcome smoke(const std::string& run, Flags more) {
    more.insert(more.end(), {"--imb-type", "exp", "--imb-factor", "0.1", "--set",
                             "train.limit_batches=2", "--set", "data.workers=0"});
    return train(run, more);
  }
};

TEST_F(ProgramLosses, EveryLossTrains) {
  std::vector<double> losses;
  for (const std::string name : {"ce", "focal", "gce", "tgce", "sce", "mae", "js", "ldam",
                                 "balanced-softmax", "logit-adjustment", "ldr-kl"}) {
    const Outcome got =
        smoke("loss-" + name, {"--loss", name, "--set", "loss.class_weights=balanced", "--set",
                               "loss.tau=2", "--set", "loss.tgce_k=0.1"});
    ASSERT_EQ(got.code, 0) << name << ": " << got.err;
    losses.push_back(metrics_of(dir() / ("loss-" + name)).back()["train"]["loss"]);
  }
  // Under one seed two equal numbers would be one loss with two names.
  for (size_t i = 0; i < losses.size(); i++)
    for (size_t k = 0; k < i; k++) EXPECT_NE(losses[i], losses[k]) << i << " " << k;
}

TEST_F(ProgramLosses, EveryRiskTrains) {
  std::vector<Flags> weights;
  for (const std::string name :
       {"mean", "kl", "tilted", "cvar", "chi2", "rgd", "group", "kl_ball"}) {
    const Outcome got = smoke("risk-" + name, {"--risk", name, "--lambda", "2", "--epochs", "2"});
    ASSERT_EQ(got.code, 0) << name << ": " << got.err;
    const json row = metrics_of(dir() / ("risk-" + name)).back();
    EXPECT_GT(row["weight_sum"], 0);
    EXPECT_EQ(row["effective_fraction"] == 1.0, name == "mean") << name;
    EXPECT_EQ(row.contains("inv_lambda"), name == "kl" || name == "tilted" || name == "kl_ball");
    EXPECT_EQ(row.contains("group_weight"), name == "group");
  }
  EXPECT_NE(read_text(dir() / "risk-tilted/config.toml").find("gamma = 1.0"), std::string::npos);
}

TEST_F(ProgramLosses, LdamHasANormedHead) {
  ASSERT_EQ(smoke("ldam", {"--loss", "ldam"}).code, 0);
  const TensorMap t = load_tensors(dir() / "ldam/best.safetensors").tensors;
  EXPECT_TRUE(t.contains("fc.weight"));
  EXPECT_FALSE(t.contains("fc.bias"));
  const Outcome eval = run_program({"eval", (dir() / "ldam").string()});
  EXPECT_EQ(eval.code, 0) << eval.err;
}

TEST_F(ProgramLosses, ARiskMayStartLate) {
  const Flags flags = {"--risk",   "cvar",
                       "--epochs", "2",
                       "--set",    "risk.from_epoch=1",
                       "--set",    "risk.cvar_level=0.25"};
  ASSERT_EQ(smoke("late", flags).code, 0);
  const auto rows = metrics_of(dir() / "late");
  EXPECT_EQ(rows[0]["effective_fraction"], 1.0);
  EXPECT_NEAR(rows[1]["effective_fraction"].get<double>(), 0.25, 0.01);
}

TEST_F(ProgramLosses, RisksResumeBitForBit) {
  for (const std::string name : {"group", "kl_ball"}) {
    const Flags flags = {"--risk", name, "--epochs", "3"};
    ASSERT_EQ(train(name + "-whole", flags).code, 0);
    {
      Program program(train_flags(dir(), name + "-killed", flags));
      ASSERT_TRUE(program.wait_for("epoch 2/3 step 3/")) << program.err();
      program.signal(SIGTERM);
      EXPECT_EQ(program.wait(), 143);
    }
    ASSERT_EQ(train(name + "-killed", merged(flags, {"--resume", "auto"})).code, 0);
    expect_same_run(dir() / (name + "-whole"), dir() / (name + "-killed"));
  }
}

TEST_F(ProgramLosses, ALambdaOfTheWrongSignIsAWarning) {
  const std::string hard = "warning: risk.lambda = 2 raises",
                    easy = "warning: risk.lambda = -2 lowers";
  const Flags noise = {"--noise-type", "symmetric", "--noise-rate", "0.3"};
  const auto warned = [&](const std::string& run, const Flags& flags, const std::string& text) {
    const Outcome got = train(run, merged({"--set", "train.limit_batches=1"}, flags));
    EXPECT_EQ(got.code, 0) << got.err;
    return got.err.find(text) != std::string::npos;
  };
  EXPECT_TRUE(warned("w1", merged(noise, {"--risk", "kl", "--lambda", "2"}), hard));
  EXPECT_FALSE(warned("w2", merged(noise, {"--risk", "kl", "--lambda", "-2"}), "warning"));
  const Flags tail = {"--imb-type", "exp", "--imb-factor", "0.1"};
  EXPECT_TRUE(warned("w3", merged(tail, {"--risk", "kl", "--lambda", "-2"}), easy));
  EXPECT_FALSE(warned("w4", merged(tail, {"--risk", "kl", "--lambda", "2"}), "warning"));
  EXPECT_FALSE(warned("w5", noise, "warning"));
}

TEST_F(ProgramLosses, BadValuesAreRefused) {
  const std::pair<const char*, const char*> cases[] = {
      {"loss.name=focus", "loss.name: expected one of ce, focal, gce"},
      {"risk.name=cvarr", "risk.name: expected one of mean, kl, tilted, cvar"},
      {"loss.gce_q=0", "loss.gce_q: expected a number in (0, 1], got 0"},
      {"risk.cvar_level=1.5", "risk.cvar_level: expected a number in (0, 1], got 1.5"}};
  for (const auto& [assignment, message] : cases)
    expect_refused(train("refused", {"--set", assignment}), 2, {message});
  EXPECT_FALSE(std::filesystem::exists(dir() / "refused"));
}

}  // namespace
}  // namespace fulcrum::testing
