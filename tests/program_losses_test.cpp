// Every loss and every risk by its name: it trains, the run says what it was, and bad values are
// refused.
#include "apps/losses.h"
#include "apps/risks.h"
#include "program_testing.h"

namespace fulcrum::testing {
namespace {

using apps::LossFunction;

// Logits that give the label 0 of two classes the probability p.
Tensor logits_of(const std::vector<double>& probabilities) {
  std::vector<double> z;
  for (const double p : probabilities) z.insert(z.end(), {std::log(p / (1 - p)), 0.0});
  return from_vector({std::ssize(probabilities), 2}, z);
}

// Zhang & Sabuncu 2018, algorithm 1: GCE, and nothing of the samples with p ≤ k at the last look.
TEST(PrunedGce, LeavesOutWhatWasNotLearned) {
  const std::vector<int64_t> counts = {6, 2};
  LossFunction loss({.name = "tgce", .tgce_k = 0.5, .tgce_prune_epoch = 4, .tgce_prune_every = 3}, counts, 8, {});
  std::vector<int64_t> looks;
  for (int64_t epoch = 0; epoch < 12; epoch++)
    if (loss.prunes_before(epoch)) looks.push_back(epoch);
  EXPECT_EQ(looks, (std::vector<int64_t>{4, 7, 10}));
  const auto gce = [](double p) { return (1 - std::pow(p, 0.7)) / 0.7; };
  const std::vector<double> p = {0.9, 0.3, 0.6, 0.05};
  const Tensor labels = labels_of({0, 0, 0, 0}), indices = labels_of({7, 1, 3, 1});
  const auto values = [&] { return loss(logits_of(p), labels, indices).to_vector(); };
  for (size_t i = 0; i < 4; i++) EXPECT_NEAR(values()[i], gce(p[i]), 1e-6) << i;
  EXPECT_EQ(loss.prune({1, 3, 7, 0}, logits_of({0.49, 0.51, 0.8, 0.2}), {0, 0, 0, 1}), 0.25);
  const bool kept[] = {true, false, true, false};
  for (size_t i = 0; i < 4; i++) EXPECT_NEAR(values()[i], kept[i] ? gce(p[i]) : 0, 1e-6) << i;
  EXPECT_EQ(loss.prune({1}, logits_of({0.9}), {0}), 0);
  EXPECT_NEAR(values()[1], gce(0.3), 1e-6);
  ASSERT_EQ(loss.state().size(), 1u);
  EXPECT_TRUE(LossFunction({.name = "tgce"}, counts, 8, {}).state().empty());
}

// share·l(own) + (1 − share)·l(other), each with the weight of its class.
TEST(MixedLoss, IsMadeOfTheLossesOfBothLabels) {
  const std::vector<int64_t> counts = {60, 5};
  LossFunction loss({.class_weights = "balanced"}, counts, 8, {});
  loss.begin_epoch(0);
  Batch batch;
  batch.labels = labels_of({0, 1, 0});
  batch.other_labels = labels_of({1, 1, 0});
  batch.indices = labels_of({0, 1, 2});
  batch.share = from_vector({3}, std::vector<double>{0.25, 0.5, 1});
  const std::vector<double> p = {0.9, 0.3, 0.6};
  const auto w = loss.class_weight().to_vector();
  const auto got = loss(logits_of(p), batch).to_vector();
  EXPECT_NEAR(got[0], -0.25 * w[0] * std::log(0.9) - 0.75 * w[1] * std::log(0.1), 1e-5);
  EXPECT_NEAR(got[1], -w[1] * std::log(0.7), 1e-5);
  EXPECT_NEAR(got[2], -w[0] * std::log(0.6), 1e-5);
  batch.share = {};
  EXPECT_NEAR(loss(logits_of(p), batch).to_vector()[0], -w[0] * std::log(0.9), 1e-5);
}

// The code of ABSGD's entry on the leaderboard of iWildCam cuts class sizes off at 10.
TEST(BalancedWeights, TakeLargeClassesForClassesOfTheLargestCount) {
  const auto weights = [](std::vector<int64_t> counts, int64_t most) {
    LossFunction loss({.class_weights = "balanced", .cb_max_count = most}, counts, 8, {});
    loss.begin_epoch(0);
    return loss.class_weight().to_vector();
  };
  EXPECT_EQ(weights({1000, 10, 4}, 10), weights({10, 10, 4}, 0));
  EXPECT_NE(weights({1000, 10, 4}, 0), weights({10, 10, 4}, 0));
}

TEST(LogitNorm, DividesByAPowerOfTheNorm) {
  const Tensor z = from_vector({2, 3}, std::vector<double>{3, 0, 4, -1, 2, 2}).set_requires_grad();
  const Tensor labels = labels_of({2, 0}), indices = labels_of({0, 1});
  for (const double power : {1.0, 0.5}) {
    LossFunction loss({.logit_norm = power}, {1, 1, 1}, 2, {});
    std::vector<double> scaled;
    for (const double v : {3, 0, 4}) scaled.push_back(v / std::pow(5, power));
    for (const double v : {-1, 2, 2}) scaled.push_back(v / std::pow(3, power));
    EXPECT_TRUE(all_close(loss(z, labels, indices), cross_entropy(from_vector({2, 3}, scaled), labels), {1e-5, 1e-6}));
  }
  // What is divided by its norm does not change with its length.
  LossFunction loss({.logit_norm = 1}, {1, 1, 1}, 2, {});
  sum(loss(z, labels, indices)).backward();
  const auto g = z.grad().to_vector();
  EXPECT_NEAR(3 * g[0] + 4 * g[2], 0, 1e-5);
  EXPECT_GT(std::abs(g[0]), 0.01);
  const Tensor zero = zeros({1, 3});
  EXPECT_NEAR(loss(zero, labels_of({0}), labels_of({0})).item(), std::log(3.0), 1e-6);
}

class ProgramLosses : public ProgramSuite {
 protected:
  // Two batches an epoch of a long tail.
  static Outcome smoke(const std::string& run, Flags more) {
    more.insert(more.end(), {"--imb-type", "exp", "--imb-factor", "0.1", "--set", "train.limit_batches=2", "--set",
                             "data.workers=0"});
    return train(run, more);
  }
};

TEST_F(ProgramLosses, EveryLossTrains) {
  std::vector<double> losses;
  for (const std::string name : {"ce", "focal", "gce", "tgce", "sce", "mae", "js", "ldam", "balanced-softmax",
                                 "logit-adjustment", "ldr-kl", "aldr-kl"}) {
    const Outcome got = smoke("loss-" + name, {"--loss", name, "--set", "loss.class_weights=balanced", "--set",
                                               "loss.tau=2", "--set", "loss.tgce_k=0.1"});
    ASSERT_EQ(got.code, 0) << name << ": " << got.err;
    losses.push_back(metrics_of(dir() / ("loss-" + name)).back()["train"]["loss"]);
  }
  // Under one seed two equal numbers would be one loss with two names.
  for (size_t i = 0; i < losses.size(); i++)
    for (size_t k = 0; k < i; k++) EXPECT_NE(losses[i], losses[k]) << i << " " << k;
}

// SOX: γ falls from 1 along a cosine. At λ = 1 a batch of the loss log m moves u to (1 − γ) u + γ m.
TEST(AnnealedGamma, FallsOverTheRun) {
  apps::Config c;
  c.train.epochs = 2;
  c.risk.name = "kl";
  c.risk.lambda = 1;
  c.risk.gamma = 0.5;
  c.risk.anneal_gamma = true;
  const auto risk = apps::make_risk(c, {1, 1});
  const auto u_after = [&](int64_t epoch, double m) {
    apps::begin_risk_epoch(*risk, c, epoch, {});
    risk->weights(from_vector(Shape{1}, std::vector<double>{std::log(m)}), {});
    return std::exp(apps::risk_readings(*risk)["log_u"].get<double>());
  };
  EXPECT_NEAR(u_after(0, 1), 1, 1e-6);    // of the first batch alone
  EXPECT_NEAR(u_after(0, 3), 3, 1e-6);    // γ = 1
  EXPECT_NEAR(u_after(1, 1), 1.5, 1e-6);  // γ = 0.75, half way to 0.5
}

TEST_F(ProgramLosses, EveryRiskTrains) {
  std::vector<Flags> weights;
  for (const std::string name : {"mean", "kl", "tilted", "cvar", "chi2", "rgd", "group", "kl_ball"}) {
    const Outcome got = smoke("risk-" + name, {"--risk", name, "--lambda", "2", "--epochs", "2"});
    ASSERT_EQ(got.code, 0) << name << ": " << got.err;
    const json row = metrics_of(dir() / ("risk-" + name)).back();
    EXPECT_GT(row["weight_sum"], 0);
    EXPECT_EQ(row["effective_fraction"] == 1.0, name == "mean") << name;
    const bool tempered = name == "kl" || name == "tilted" || name == "kl_ball";
    EXPECT_EQ(row.contains("inv_lambda"), tempered || name == "mean");
    if (row.contains("inv_lambda")) {
      EXPECT_EQ(row["inv_lambda"] == 0, name == "mean") << name;
    }
    EXPECT_EQ(row.contains("group_weight"), name == "group");
  }
  EXPECT_NE(read_text(dir() / "risk-tilted/config.toml").find("gamma = 1.0"), std::string::npos);
}

// Every loss and risk but those for which a sample with two labels means nothing.
TEST_F(ProgramLosses, MixupGoesWithEveryLossOfOneLabelAtATime) {
  const Flags mixup = {"--set", "data.mixup=0.5"};
  const auto mixed = [&](const Flags& more) {
    Flags flags = mixup;
    flags.insert(flags.end(), more.begin(), more.end());
    return smoke("mixed", merged(flags, {"--exist-ok"}));
  };
  for (const std::string name : {"focal", "gce", "tgce", "sce", "mae", "js", "ldam", "balanced-softmax", "ldr-kl"})
    EXPECT_EQ(mixed({"--loss", name}).code, 0) << name;
  EXPECT_EQ(mixed({"--set", "loss.class_weights=balanced", "--set", "risk.normalize=batch"}).code, 0);
  EXPECT_EQ(mixed({"--set", "loss.class_weights=balanced", "--risk", "kl", "--lambda", "2"}).code, 0);
  const std::pair<Flags, std::string> refused[] = {
      {{"--loss", "aldr-kl"}, "loss.name = aldr-kl"},
      {{"--loss", "tgce", "--set", "loss.tgce_prune_epoch=1"}, "loss.tgce_prune_epoch"},
      {{"--risk", "group"}, "risk.name = group"},
      {{"--set", "loss.class_weights=balanced"}, "risk.normalize = weights"}};
  for (const auto& [flags, part] : refused)
    expect_refused(mixed(flags), 2, {"data.mixup: a mixed sample has two labels", part});
}

TEST_F(ProgramLosses, AugmentationsOutOfRangeAreRefused) {
  const std::pair<std::string, std::string> cases[] = {
      {"data.mixup=-1", "data.mixup: expected a number in [0, inf), got -1"},
      {"data.mix_prob=0.5", "data.mix_prob: expected data.mixup or data.cutmix above 0 beside it"},
      {"data.mix_switch_prob=0.1", "data.mix_switch_prob: expected data.mixup and data.cutmix above 0"},
      {"data.color_jitter=[0.4]",
       "data.color_jitter: expected brightness, contrast, saturation and perhaps hue, got 1"},
      {"data.color_jitter=[0.4, 0.4, 0.4, 0.6]", "data.color_jitter: expected a number in [0, 0.5], got 0.6"},
      {"data.color_jitter=[-0.4, 0, 0]", "data.color_jitter: expected a number in [0, inf), got -0.4"},
      {"data.randaugment=17", "data.randaugment: expected a number in [0, 16], got 17"},
      {"data.randaugment_magnitude=3", "data.randaugment_magnitude: expected data.randaugment above 0 beside it"},
      {"data.random_crop=true", "data.random_crop: only data.name = folder"},
      {"loss.cb_max_count=-1", "loss.cb_max_count: expected at least 0, got -1"},
      {"optim.lr_of=[\"fc.*\"]", "optim.lr_of: expected PATTERN=VALUE"},
      {"optim.lr_of=[\"head.*=1\"]", "optim.lr_of: no parameter of the model has a name like 'head.*'"}};
  for (const auto& [setting, message] : cases) expect_refused(smoke("refused", {"--set", setting}), 2, {message});
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
  const Flags flags = {
      "--risk", "cvar", "--epochs", "2", "--set", "risk.from_epoch=1", "--set", "risk.cvar_level=0.25"};
  ASSERT_EQ(smoke("late", flags).code, 0);
  const auto rows = metrics_of(dir() / "late");
  EXPECT_EQ(rows[0]["effective_fraction"], 1.0);
  EXPECT_NEAR(rows[1]["effective_fraction"].get<double>(), 0.25, 0.01);
}

TEST_F(ProgramLosses, RisksAndLambdasResumeBitForBit) {
  for (const std::string name : {"group", "kl_ball", "aldr-kl"}) {
    const Flags flags = {name == "aldr-kl" ? "--loss" : "--risk", name, "--epochs", "3"};
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

TEST_F(ProgramLosses, LdamIsEvaluatedWithItsScale) {
  ASSERT_EQ(train("ldam-scale", {"--loss", "ldam"}).code, 0);
  const std::string file = dir() / "ldam-scale.safetensors";
  ASSERT_EQ(run_program({"eval", dir() / "ldam-scale", "--data-dir", dir() / "data", "--logits", file}).code, 0);
  const Tensor logits = load_tensors(file).tensors.at("logits");
  EXPECT_GT(amax(abs(logits), {0, 1}).item(), 2) << "cosines alone are at most 1";
  EXPECT_LE(amax(abs(logits), {0, 1}).item(), 30.001);
  const Tensor confidence = load_tensors(dir() / "ldam-scale/predictions.safetensors").tensors.at("confidence");
  EXPECT_TRUE(all_close(confidence, amax(softmax(logits), {1}), {.absolute = 1e-5}));
}

TEST_F(ProgramLosses, PruningResumesBitForBit) {
  const Flags flags = {"--loss",   "tgce",
                       "--epochs", "3",
                       "--set",    "loss.tgce_prune_epoch=1",
                       "--set",    "loss.tgce_prune_every=1",
                       "--set",    "loss.tgce_k=0.1"};
  const Outcome whole = train("pruned-whole", flags);
  ASSERT_EQ(whole.code, 0) << whole.err;
  EXPECT_EQ(whole.err.find("epoch 1: "), std::string::npos);
  for (const char* part : {"epoch 2: ", "epoch 3: ", " % of the training images are left out"})
    EXPECT_NE(whole.err.find(part), std::string::npos) << part;
  const auto kept = saved("pruned-whole", "state.loss.kept").to_vector();
  ASSERT_EQ(std::ssize(kept), kTrainImages);
  const auto out = std::count(kept.begin(), kept.end(), 0.0);
  EXPECT_GT(out, 0);
  EXPECT_EQ(std::count(kept.begin(), kept.end(), 1.0), kTrainImages - out);
  // What is left out weighs nothing, and is what suspects.csv begins with where labels may be wrong.
  const auto weights = load_tensors(dir() / "pruned-whole/samples.safetensors").tensors.at("weight").to_vector();
  EXPECT_EQ(std::count(weights.begin(), weights.end(), 0.0), out);
  {
    Program program(train_flags(dir(), "pruned-killed", flags));
    ASSERT_TRUE(program.wait_for("epoch 2/3 step 3/")) << program.err();
    program.signal(SIGTERM);
    EXPECT_EQ(program.wait(), 143);
  }
  ASSERT_EQ(train("pruned-killed", merged(flags, {"--resume", "auto"})).code, 0);
  expect_same_run(dir() / "pruned-whole", dir() / "pruned-killed");
}

// Labels of class 3 all become 4: what training sees has a class without samples.
TEST_F(ProgramLosses, AClassWithoutSamplesIsRefusedOrAWarning) {
  std::string matrix;
  for (int a = 0; a < 10; a++)
    for (int b = 0; b < 10; b++) matrix += std::string(b == (a == 3 ? 4 : a) ? "1" : "0") + (b == 9 ? "\n" : " ");
  write_text(dir() / "matrix.txt", matrix);
  const Flags noise = {"--noise-type", "matrix",
                       "--set",        concat_text("data.noise_matrix=", (dir() / "matrix.txt").string()),
                       "--set",        "train.limit_batches=1"};
  expect_refused(train("empty", merged(noise, {"--loss", "ldam"})), 2,
                 {"loss.name: ldam expected at least 1 training image of every class, got 0 of class 3"});
  expect_refused(train("empty", merged(noise, {"--set", "loss.class_tau=0.5"})), 2,
                 {"loss.class_tau: 0.5 expected at least 1 training image of every class, got 0 of class 3"});
  EXPECT_FALSE(std::filesystem::exists(dir() / "empty" / "config.toml"));
  const Outcome got = train("empty-weight", merged(noise, {"--set", "loss.class_weights=balanced"}));
  EXPECT_EQ(got.code, 0) << got.err;
  EXPECT_NE(got.err.find("warning: loss.class_weights = balanced: no training image of class 3, whose weight is 0"),
            std::string::npos)
      << got.err;
  EXPECT_EQ(train("empty-plain", noise).err.find("warning"), std::string::npos);
}

TEST_F(ProgramLosses, CountsThatTheDataDoNotHaveAreRefused) {
  expect_refused(
      train("counts", {"--imb-type", "exp", "--imb-factor", "0.5", "--set", "data.n_max=40"}), 2,
      {"data.imb_type = exp, data.imb_factor = 0.5, data.n_max = 40", "expected a count of at most 32", "got 40"});
  EXPECT_FALSE(std::filesystem::exists(dir() / "counts" / "config.toml"));
}

TEST_F(ProgramLosses, ALambdaOfTheWrongSignIsAWarning) {
  const std::string hard = "warning: risk.lambda = 2 raises", easy = "warning: risk.lambda = -2 lowers";
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

TEST_F(ProgramLosses, ProtocolsWithoutTheirKindAreAWarning) {
  const Flags few = {"--set", "train.limit_batches=1"};
  const Outcome noise = train("no-kind", merged(few, {"--noise-rate", "0.4", "--imb-factor", "0.1"}));
  ASSERT_EQ(noise.code, 0) << noise.err;
  for (const char* part : {"warning: data.noise_rate = 0.4 has no effect with data.noise_type = none",
                           "warning: data.imb_factor = 0.1 has no effect with data.imb_type = none"})
    EXPECT_NE(noise.err.find(part), std::string::npos) << noise.err;
  const Outcome both = train("kind", merged(few, {"--noise-rate", "0.4", "--noise-type", "symmetric"}));
  EXPECT_EQ(both.err.find("no effect"), std::string::npos) << both.err;
}

TEST_F(ProgramLosses, WhatWouldBeginAfterTheLastEpochIsAWarning) {
  const Outcome got =
      train("late", {"--recipe", "fashion-mnist-lt", "--opt", "absgd", "--lambda", "5", "--drw-epoch", "8", "--set",
                     "risk.from_epoch=9", "--set", "loss.class_weights=balanced", "--dry-run"});
  ASSERT_EQ(got.code, 0) << got.err;
  for (const char* text : {"risk.from_epoch = 9: the risk never begins in the 1 epochs of this run",
                           "loss.drw_epoch = 8: class weights never begin"})
    EXPECT_NE(got.err.find(text), std::string::npos) << got.err;
}

TEST(GivenWeights, AreThoseOfTheClasses) {
  const apps::LossSettings settings = {.class_weights = "given", .given_class_weights = {0.5, 3}, .drw_epoch = 1};
  LossFunction loss(settings, {60, 5}, 8, {});
  loss.begin_epoch(0);
  EXPECT_FALSE(loss.class_weight());
  loss.begin_epoch(1);
  EXPECT_EQ(loss.class_weight().to_vector(), (std::vector<double>{0.5, 3}));
}

TEST_F(ProgramLosses, GivenWeightsAreOneForEachClass) {
  const auto dry_run = [](const char* weights) {
    return train("given", {"--set", "loss.class_weights=given", "--set",
                           std::string("loss.given_class_weights=") + weights, "--dry-run"});
  };
  EXPECT_EQ(dry_run("[1,2,0.5,1,1,1,1,1,1,1]").code, 0);
  expect_refused(dry_run("[1,2,0.5]"), 2, {"loss.given_class_weights: expected 10 numbers, one for each class, got 3"});
  expect_refused(dry_run("[1,2,0,1]"), 2, {"loss.given_class_weights: expected a number in (0, inf), got 0"});
  expect_refused(dry_run("[]"), 2, {"loss.given_class_weights: expected a number for each class with"});
}

TEST_F(ProgramLosses, SettingsThatAreNotUsedAreAWarning) {
  const std::string mean = " has no effect with risk.name = mean; give --risk or --opt absgd";
  const std::pair<Flags, std::vector<std::string>> cases[] = {
      {{"--lambda", "5", "--set", "risk.from_epoch=1"}, {"risk.lambda" + mean, "risk.from_epoch" + mean}},
      {{"--risk", "kl_ball", "--lambda", "3"}, {"risk.lambda has no effect with risk.name = kl_ball"}},
      {{"--loss", "focal", "--set", "loss.gce_q=0.5"}, {"loss.gce_q has no effect with loss.name = focal"}},
      {{"--drw-epoch", "1"}, {"loss.drw_epoch has no effect with loss.class_weights = none"}},
      {{"--set", "loss.class_weights=given", "--set", "loss.given_class_weights=[1,1,1,1,1,1,1,1,1,1]", "--set",
        "loss.cb_beta=0.9"},
       {"loss.cb_beta has no effect with loss.class_weights = given"}},
      {{"--opt", "absgd"}, {"risk.lambda = inf weighs all samples alike, as SGD does; give --lambda"}}};
  for (const auto& [flags, texts] : cases) {
    const Outcome got = train("unused", merged(flags, {"--dry-run"}));  // a dry run warns of what the run would do
    EXPECT_EQ(got.code, 0) << got.err;
    for (const std::string& text : texts) EXPECT_NE(got.err.find("warning: " + text), std::string::npos) << got.err;
  }
  for (const Flags& flags : {Flags{"--opt", "absgd", "--lambda", "inf"},
                             Flags{"--drw-epoch", "1", "--set", "loss.class_weights=balanced", "--epochs", "2"},
                             Flags{"--risk", "mean", "--set", "risk.normalize=batch"}})
    EXPECT_EQ(train("used", merged(flags, {"--dry-run"})).err.find("warning"), std::string::npos);
  const Outcome wrong_sign =
      train("sign", {"--dry-run", "--imb-type", "exp", "--imb-factor", "0.1", "--risk", "kl", "--lambda", "-2"});
  EXPECT_NE(wrong_sign.err.find("warning: risk.lambda = -2 lowers"), std::string::npos) << wrong_sign.err;
}

TEST_F(ProgramLosses, AbsgdIsOneRiskAndNoOther) {
  for (const char* risk : {"mean", "kl_ball", "cvar"})
    expect_refused(train("two", {"--opt", "absgd", "--risk", risk}), 2,
                   {"optim.name: absgd is sgd with risk.name = kl, got risk.name = " + std::string(risk)});
}

TEST_F(ProgramLosses, BadValuesAreRefused) {
  const std::pair<const char*, const char*> cases[] = {
      {"loss.name=focus", "loss.name: expected one of ce, focal, gce"},
      {"risk.name=cvarr", "risk.name: expected one of mean, kl, tilted, cvar"},
      {"loss.gce_q=0", "loss.gce_q: expected a number in (0, 1], got 0"},
      {"risk.cvar_level=1.5", "risk.cvar_level: expected a number in (0, 1], got 1.5"}};
  for (const auto& [assignment, message] : cases) expect_refused(train("refused", {"--set", assignment}), 2, {message});
  EXPECT_FALSE(std::filesystem::exists(dir() / "refused"));
}

}  // namespace
}  // namespace fulcrum::testing
