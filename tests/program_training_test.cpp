// What a training run can be asked for beside its method: accumulated gradients, averaged weights,
// early stopping, several seeds, a trial run, an estimate.
#include <fulcrum/core/kernels.h>

#include "program_testing.h"

namespace fulcrum::testing {
namespace {

namespace fs = std::filesystem;

class ProgramTraining : public ProgramSuite {};

TEST_F(ProgramTraining, AccumulationMakesOneUpdateOfSeveralBatches) {
  // 10 batches: groups of 4, 4 and 2.
  ASSERT_EQ(train("four", {"--accumulate", "4"}).code, 0);
  const auto control = saved("four", "state.control");
  EXPECT_EQ(control.to_vector()[kStep], 3);
  // The first group on a network without batch statistics in play: one batch of 128 sees other
  // statistics, so the loss before the first update is what can be compared.
  ASSERT_EQ(train("whole", {"-b", "128", "--set", "train.limit_batches=1"}).code, 0);
  ASSERT_EQ(train("parts", {"--accumulate", "4", "--set", "train.limit_batches=4"}).code, 0);
  const auto weight = [&](const char* run) { return saved(run, "fc.bias").to_vector(); };
  const auto whole = weight("whole"), parts = weight("parts");
  double difference = 0, size = 0;
  for (size_t i = 0; i < whole.size(); i++) {
    difference += std::abs(whole[i] - parts[i]);
    size += std::abs(whole[i]);
  }
  EXPECT_LT(difference, 0.1 * size);  // the sum without division by 4 would be four times as far
}

TEST_F(ProgramTraining, AccumulationResumesBetweenGroupsAlone) {
  const Flags flags = {"--accumulate", "4", "--epochs", "2", "--opt", "absgd", "--lambda", "2"};
  ASSERT_EQ(train("unbroken", flags).code, 0);
  {
    Program program(train_flags(dir(), "broken", flags));
    ASSERT_TRUE(program.wait_for("epoch 1/2 step 5/")) << program.err();
    program.signal(SIGTERM);
    EXPECT_EQ(program.wait(), 143);
  }
  EXPECT_NE(progress_of(dir() / "broken")["batch"].get<int>(), 5);
  ASSERT_EQ(train("broken", merged(flags, {"--resume", "auto"})).code, 0);
  expect_same_run(dir() / "unbroken", dir() / "broken");
}

TEST_F(ProgramTraining, AveragedWeightsAreEvaluatedSavedAndResumed) {
  const Flags flags = {"--epochs", "3", "--model-ema-decay", "0.8"};
  ASSERT_EQ(train("averaged", flags).code, 0);
  ASSERT_EQ(train("plain", {"--epochs", "3"}).code, 0);
  const TensorMap averaged = load_tensors(dir() / "averaged" / "last.safetensors").tensors;
  const TensorMap plain = load_tensors(dir() / "plain" / "last.safetensors").tensors;
  // The average does not touch the training, and is not the last weights.
  EXPECT_TRUE(same_bits(averaged.at("conv1.weight"), plain.at("conv1.weight")));
  EXPECT_FALSE(same_bits(averaged.at("ema.conv1.weight"), averaged.at("conv1.weight")));
  EXPECT_EQ(averaged.at("ema.conv1.weight").shape(), averaged.at("conv1.weight").shape());
  EXPECT_NE(metrics_of(dir() / "averaged").back()["test"], metrics_of(dir() / "plain").back()["test"]);
  // eval reads what the run evaluated.
  const Outcome eval = run_program({"eval", (dir() / "averaged").string(), "--threads", "1"});
  ASSERT_EQ(eval.code, 0) << eval.err;
  EXPECT_EQ(json::parse(eval.out)["loss"], metrics_of(dir() / "averaged").back()["test"]["loss"]);
  // As a run that was killed goes on.
  {
    Program program(train_flags(dir(), "averaged-killed", flags));
    ASSERT_TRUE(program.wait_for("epoch 2/3 step 3/")) << program.err();
    program.signal(SIGKILL);
    EXPECT_EQ(program.wait(), 137);
  }
  ASSERT_EQ(train("averaged-killed", merged(flags, {"--resume", "auto"})).code, 0);
  expect_same_run(dir() / "averaged", dir() / "averaged-killed");
}

TEST_F(ProgramTraining, RecomputingHasTheSameBits) {
  const Flags flags = {"--epochs",
                       "2",
                       "--opt",
                       "absgd",
                       "--lambda",
                       "2",
                       "--accumulate",
                       "2",
                       "--model-ema-decay",
                       "0.8",
                       "--set",
                       "model.dropout=0.2",
                       "--set",
                       "train.limit_batches=4"};
  ASSERT_EQ(train("kept", flags).code, 0);
  const Outcome got = train("recomputed", merged(flags, {"--recompute"}));
  ASSERT_EQ(got.code, 0) << got.err;
  EXPECT_NE(read_text(dir() / "recomputed" / "config.toml").find("recompute = true"), std::string::npos);
  expect_same_run(dir() / "kept", dir() / "recomputed");
  // A run may take it up, or leave it, when it goes on.
  ASSERT_EQ(train("changed", merged(flags, {"--epochs", "1", "--recompute"})).code, 0);
  const Outcome resumed = train("changed", merged(flags, {"--resume", "auto"}));
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  expect_same_tensors(dir() / "kept" / "last.safetensors", dir() / "changed" / "last.safetensors");
  expect_refused(train("none", {"--model", "mlp", "--recompute"}), 2, {"recompute", "residual blocks"});
}

TEST_F(ProgramTraining, StopsEarlyWhenNothingGetsBetter) {
  // A learning rate of almost nothing: the first epoch stays the best.
  const Flags flags = {"--epochs", "30", "--lr", "1e-12", "--patience", "2"};
  const Outcome got = train("patient", flags);
  ASSERT_EQ(got.code, 0) << got.err;
  const auto rows = metrics_of(dir() / "patient");
  const json result = json::parse(got.out);
  EXPECT_LT(rows.size(), 30u);
  EXPECT_EQ(result["epochs"], rows.size());
  EXPECT_EQ(rows.size() - 1 - result["best"]["epoch"].get<size_t>(), 2u);
  EXPECT_NE(got.err.find("stopping early"), std::string::npos) << got.err;
  const Outcome again = train("patient", merged(flags, {"--resume", "auto"}));
  ASSERT_EQ(again.code, 0) << again.err;
  EXPECT_EQ(metrics_of(dir() / "patient").size(), rows.size());
}

TEST_F(ProgramTraining, StopsEarlyAfterAnEvaluation) {
  const Outcome got =
      train("patient-2", {"--epochs", "9", "--lr", "1e-12", "--patience", "1", "--set", "train.eval_every=2"});
  ASSERT_EQ(got.code, 0) << got.err;
  const auto rows = metrics_of(dir() / "patient-2");
  EXPECT_LT(rows.size(), 9u);
  EXPECT_TRUE(rows.back().contains("test"));
  EXPECT_EQ(json::parse(got.out)["top1"], rows.back()["test"]["top1"]);
}

TEST_F(ProgramTraining, TheBestEpochIsThatOfTheChosenMetric) {
  const Outcome got = train("by-loss", {"--epochs", "4", "--eval-metric", "loss", "--lr", "0.5"});
  ASSERT_EQ(got.code, 0) << got.err;
  size_t best = 0;
  const auto rows = metrics_of(dir() / "by-loss");
  for (size_t i = 1; i < rows.size(); i++)
    if (rows[i]["test"]["loss"] < rows[best]["test"]["loss"]) best = i;
  EXPECT_EQ(json::parse(got.out)["best"]["epoch"], best);
}

TEST_F(ProgramTraining, SeveralSeedsGiveMeanAndDeviation) {
  const Outcome got = train("seeds", {"--seeds", "3"});
  ASSERT_EQ(got.code, 0) << got.err;
  const json result = json::parse(got.out);
  ASSERT_EQ(result["runs"].size(), 3u);
  double sum = 0, squares = 0;
  for (int i = 0; i < 3; i++) {
    const json run = result["runs"][static_cast<size_t>(i)];
    EXPECT_EQ(run["seed"], 3 + i);
    EXPECT_EQ(run["output"], (dir() / "seeds" / ("seed" + std::to_string(3 + i))).string());
    sum += run["loss"].get<double>();
  }
  for (const json& run : result["runs"]) squares += std::pow(run["loss"].get<double>() - sum / 3, 2);
  EXPECT_NEAR(result["summary"]["loss"]["mean"].get<double>(), sum / 3, 1e-12);
  EXPECT_NEAR(result["summary"]["loss"]["sd"].get<double>(), std::sqrt(squares / 2), 1e-12);
  EXPECT_GT(squares, 0);
  // Seed 3 alone is the same run.
  ASSERT_EQ(train("seed3").code, 0);
  expect_same_tensors(dir() / "seed3" / "best.safetensors", dir() / "seeds/seed3/best.safetensors");
}

TEST_F(ProgramTraining, SmokeIsShort) {
  const Outcome got = train("smoke", {"--epochs", "50", "--smoke", "--log-interval", "1"});
  ASSERT_EQ(got.code, 0) << got.err;
  EXPECT_EQ(metrics_of(dir() / "smoke").size(), 2u);
  EXPECT_NE(got.err.find("step 2/2"), std::string::npos) << got.err;
}

TEST_F(ProgramTraining, DryRunPrintsARecipeAndWritesNothing) {
  const Outcome got = train("dry", {"--dry-run", "--opt", "absgd", "--lambda", "3"});
  ASSERT_EQ(got.code, 0) << got.err;
  EXPECT_FALSE(fs::exists(dir() / "dry"));
  for (const char* part :
       {"# data: 320 training images", "# model: 75002 parameters", "peak memory", "1 epochs of 10 steps"})
    EXPECT_NE(got.out.find(part), std::string::npos) << part << " in " << got.out;
  // What it prints can be run.
  write_text(dir() / "printed.toml", got.out);
  const Outcome run = run_program({"train", "--recipe", (dir() / "printed.toml").string()});
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_NE(read_text(dir() / "dry" / "config.toml").find("lambda = 3.0"), std::string::npos);
}

TEST_F(ProgramTraining, SamplesHoldTheWeightsOfTheRisk) {
  ASSERT_EQ(train("samples", {"--opt", "absgd", "--lambda", "0.5", "--epochs", "2"}).code, 0);
  const TensorMap t = load_tensors(dir() / "samples" / "samples.safetensors").tensors;
  const auto weight = t.at("weight").to_vector(), loss = t.at("loss").to_vector();
  const auto mean = t.at("mean_weight").to_vector();
  ASSERT_EQ(weight.size(), static_cast<size_t>(kTrainImages));
  EXPECT_EQ(t.at("largest.images").shape(), (Shape{24, 28, 28, 1}));
  // The larger loss of a batch has the larger weight: far from it on average over batches only if
  // the columns were mixed up.
  double with = 0, n = static_cast<double>(weight.size()), w = 0, l = 0, ww = 0, ll = 0;
  for (size_t i = 0; i < weight.size(); i++) {
    w += weight[i] / n, l += loss[i] / n;
    with += weight[i] * loss[i] / n, ww += weight[i] * weight[i] / n, ll += loss[i] * loss[i] / n;
  }
  EXPECT_GT((with - w * l) / std::sqrt((ww - w * w) * (ll - l * l)), 0.8);
  const auto largest = t.at("largest.index").to_vector();
  EXPECT_EQ(mean[static_cast<size_t>(largest[0])], *std::max_element(mean.begin(), mean.end()));
  const auto share = metrics_of(dir() / "samples").back()["class_weight_share"];
  double total = 0;
  for (const auto& s : share) total += s.get<double>();
  EXPECT_NEAR(total, 1, 1e-9);
}

TEST_F(ProgramTraining, PredictionsGiveTheReportedAccuracy) {
  const Outcome got = train("predictions");
  ASSERT_EQ(got.code, 0) << got.err;
  const TensorMap t = load_tensors(dir() / "predictions" / "predictions.safetensors").tensors;
  const auto label = t.at("label").to_vector(), said = t.at("prediction").to_vector();
  double right = 0;
  for (size_t i = 0; i < label.size(); i++) right += label[i] == said[i];
  EXPECT_DOUBLE_EQ(right / static_cast<double>(label.size()), json::parse(got.out)["top1"]);
  for (const double c : t.at("confidence").to_vector()) EXPECT_TRUE(c >= 0.1 && c <= 1) << c;
}

TEST_F(ProgramTraining, SettingsThatMakeNoSenseAreRefused) {
  expect_refused(train("no", {"--patience", "-1"}), 2, {"train.patience", "at least 0"});
  expect_refused(train("no", {"--accumulate", "0"}), 2, {"train.accumulate", "at least 1"});
  expect_refused(train("no", {"--model-ema-decay", "1"}), 2, {"train.ema_decay", "[0, 1)"});
  expect_refused(train("no", {"--eval-metric", "top2"}), 2, {"train.eval_metric", "balanced"});
  expect_refused(train("no", {"--seeds", "0"}), 2, {"--seeds"});
  EXPECT_FALSE(fs::exists(dir() / "no"));
}

}  // namespace
}  // namespace fulcrum::testing
