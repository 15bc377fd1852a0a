// A run that is stopped or killed, and goes on: the same numbers, bit for bit, as one that was not.
// Dropout, augmentation, class weights and λ that start late: the position of every generator, of
// the sampler and of u matters.
#include "program_testing.h"

namespace fulcrum::testing {
namespace {

namespace fs = std::filesystem;

// 1/(1/1.9) is not 1.9: λ must survive its way through the state.
const Flags kAll = {"--epochs",     "3",
                    "--opt",        "absgd",
                    "--lambda",     "1.9",
                    "--gamma",      "0.6",
                    "--imb-type",   "exp",
                    "--imb-factor", "0.4",
                    "--drw-epoch",  "1",
                    "--set",        "model.dropout=0.3",
                    "--set",        "data.pad=2",
                    "--set",        "data.flip=true",
                    "--set",        "data.color_jitter=[0.4, 0.4, 0.4]",
                    "--set",        "data.randaugment=1",
                    "--set",        "data.mixup=0.4",
                    "--set",        "data.cutmix=1",
                    "--set",        "loss.class_weights=balanced",
                    "--set",        "schedule.kind=cosine"};

class ProgramResume : public ProgramSuite {
 protected:
  static void SetUpTestSuite() {
    ProgramSuite::SetUpTestSuite();
    const Outcome whole = run_program(flags("whole"));
    ASSERT_EQ(whole.code, 0) << whole.err;
  }
  static fs::path whole() { return dir() / "whole"; }
  static Flags flags(const std::string& run, const Flags& more = {}) {
    return train_flags(dir(), run, merged(kAll, more));
  }
  /// Runs until stderr has the text, then sends the signal; the exit code.
  static int stop(const Flags& flags, const std::string& text, int signal, int after_us = 0) {
    Program program(flags);
    EXPECT_TRUE(program.wait_for(text)) << program.err();
    std::this_thread::sleep_for(std::chrono::microseconds(after_us));
    program.signal(signal);
    const int code = program.wait();
    if (signal != SIGKILL) {
      EXPECT_NE(program.err().find("stopped by signal"), std::string::npos) << program.err();
      EXPECT_EQ(program.out(), "");
    }
    return code;
  }
};

TEST_F(ProgramResume, TheRunTestsWhatItShould) {
  const auto rows = metrics_of(whole());
  ASSERT_EQ(rows.size(), 3u);
  for (const auto& row : rows) {
    EXPECT_NEAR(row["inv_lambda"].get<double>(), 1 / 1.9, 1e-15);
    EXPECT_TRUE(row["log_u"].is_number());
    EXPECT_LT(row["effective_fraction"].get<double>(), 0.99);
  }
  EXPECT_GT(load_tensors(whole() / "last.safetensors").tensors.at("state.generator.dropout.generator").to_vector()[0],
            0);
}

TEST_F(ProgramResume, StoppedTwiceBySignals) {
  EXPECT_EQ(stop(flags("stopped"), "epoch 1/3 step 3/", SIGTERM), 143);
  EXPECT_TRUE(fs::exists(dir() / "stopped" / "last.safetensors"));
  EXPECT_EQ(progress_of(dir() / "stopped")["epoch"], 0);
  EXPECT_GE(progress_of(dir() / "stopped")["batch"], 3);
  EXPECT_EQ(stop(flags("stopped", {"--resume", "auto"}), "epoch 2/3 step 2/", SIGINT), 130);
  EXPECT_GT(progress_of(dir() / "stopped")["batch"], 0);
  const Outcome rest = run_program(flags("stopped", {"--resume", "auto"}));
  ASSERT_EQ(rest.code, 0) << rest.err;
  EXPECT_NE(rest.err.find("resuming at epoch"), std::string::npos) << rest.err;
  expect_same_run(whole(), dir() / "stopped");
}

TEST_F(ProgramResume, KilledAtSeveralMoments) {
  struct Moment {
    const char* text;
    int after_us;
  };
  // "epoch   N/3" ends an epoch, before its line in metrics.jsonl and its checkpoint are written.
  const Moment moments[] = {{"epoch 2/3 step 2/", 0},
                            {"epoch   2/3  loss", 0},
                            {"epoch 3/3 step 1/", 300},
                            {"epoch 3/3 step 5/", 0},
                            {"epoch   3/3  loss", 1000}};
  int killed = 0;
  for (const Moment& m : moments) {
    Program program(flags("killed", {"--resume", "auto"}));
    if (program.wait_for(m.text)) std::this_thread::sleep_for(std::chrono::microseconds(m.after_us));
    program.signal(SIGKILL);
    killed += program.wait() == 137;
  }
  EXPECT_GE(killed, 3);
  const Outcome rest = run_program(flags("killed", {"--resume", "auto"}));
  ASSERT_EQ(rest.code, 0) << rest.err;
  expect_same_run(whole(), dir() / "killed");
}

TEST_F(ProgramResume, KilledBeforeItsFirstCheckpointStartsAnew) {
  EXPECT_EQ(stop(flags("early"), "epoch 1/3 step 2/", SIGKILL), 137);
  EXPECT_FALSE(fs::exists(dir() / "early" / "last.safetensors"));
  const Outcome rest = run_program(flags("early", {"--resume", "auto", "--epochs", "1", "-b", "128"}));
  EXPECT_EQ(rest.code, 0) << rest.err;
}

TEST_F(ProgramResume, StoppedAfterTheLastBatchOfAnEpoch) {
  // One batch an epoch: wherever the signal comes, the epoch's evaluation is still to be done.
  const Flags one = {"-b", "320", "--epochs", "3"};
  ASSERT_EQ(run_program(flags("one", one)).code, 0);
  EXPECT_EQ(stop(flags("one-stopped", one), "epoch 1/3 step 1/1", SIGTERM), 143);
  EXPECT_EQ(progress_of(dir() / "one-stopped")["batch"], 1);
  const Outcome rest = run_program({"train", "--resume", (dir() / "one-stopped").string()});
  ASSERT_EQ(rest.code, 0) << rest.err;
  expect_same_run(dir() / "one", dir() / "one-stopped");
}

TEST_F(ProgramResume, OfAFinishedRunRepeatsItsResult) {
  const std::string before = read_text(whole() / "last.safetensors");
  const Outcome again = run_program({"train", "--resume", whole().string()});
  ASSERT_EQ(again.code, 0) << again.err;
  const json result = json::parse(again.out);
  EXPECT_EQ(result["top1"], metrics_of(whole()).back()["test"]["top1"]);
  EXPECT_EQ(metrics_of(whole()).size(), 3u);
  EXPECT_EQ(read_text(whole() / "last.safetensors"), before);
}

TEST_F(ProgramResume, MayGoOnForLonger) {
  const Flags constant = {"--set", "schedule.kind=constant", "-b", "128"};
  const auto with = [&](const char* run, const char* epochs) {
    return flags(run, merged(constant, {"--epochs", epochs, "--resume", "auto"}));
  };
  ASSERT_EQ(run_program(with("long", "2")).code, 0);
  ASSERT_EQ(run_program(with("longer", "1")).code, 0);
  const Outcome rest = run_program(with("longer", "2"));
  ASSERT_EQ(rest.code, 0) << rest.err;
  expect_same_run(dir() / "long", dir() / "longer");
  // Complete and re-runnable: what the run is now.
  EXPECT_NE(read_text(dir() / "longer" / "config.toml").find("epochs = 2\n"), std::string::npos);
}

TEST_F(ProgramResume, ChangedSettingsAreListed) {
  const auto resume = [&](const Flags& more) {
    Flags all = {"train", "--resume", whole().string()};
    all.insert(all.end(), more.begin(), more.end());
    return run_program(all);
  };
  expect_refused(resume({"--lr", "0.2", "--set", "risk.gamma=0.5"}), 2,
                 {"these settings differ", "optim.lr: 0.05 -> 0.2", "risk.gamma: 0.6 -> 0.5"});
  // What changes no number may change.
  EXPECT_EQ(resume({"--workers", "2", "--log-interval", "7"}).code, 0);
}

TEST_F(ProgramResume, AllowChangesGoesOnWithAnotherRisk) {
  const Flags changed = {
      "--resume", "auto",  "--allow-changes",     "--risk", "mean", "--epochs", "2", "--opt", "sgd", "-b", "64", "--lr",
      "0.01",     "--set", "risk.normalize=batch"};
  ASSERT_EQ(run_program(flags("changed", {"--epochs", "1", "-b", "128"})).code, 0);
  const Outcome got = run_program(flags("changed", changed));
  ASSERT_EQ(got.code, 0) << got.err;
  for (const char* part : {"changed: risk.name: 'kl' -> 'mean'", "train.batch_size: 128 -> 64"})
    EXPECT_NE(got.err.find(part), std::string::npos) << part << " in " << got.err;
  EXPECT_NE(read_text(dir() / "changed" / "config.toml").find("batch_size = 64\n"), std::string::npos);
  EXPECT_EQ(metrics_of(dir() / "changed").size(), 2u);
}

TEST_F(ProgramResume, GoesOnWithinAnEpochFromItsLastRecoveryCheckpoint) {
  const Flags often = {"--recovery-interval", "3", "--resume", "auto"};
  EXPECT_EQ(stop(flags("often", often), "epoch 1/3 step 5/", SIGKILL), 137);
  EXPECT_EQ(progress_of(dir() / "often")["batch"], 3);
  // No setting of the experiment: the other way round goes, too.
  const Outcome rest = run_program(flags("often", {"--resume", "auto"}));
  ASSERT_EQ(rest.code, 0) << rest.err;
  EXPECT_NE(rest.err.find("resuming at epoch 1 step 3"), std::string::npos) << rest.err;
  expect_same_run(whole(), dir() / "often");
}

TEST_F(ProgramResume, RecoveryCheckpointsComeAfterWholeUpdates) {
  const Flags accumulate = {"--accumulate", "2", "-b", "16", "--recovery-interval", "3", "--resume", "auto"};
  EXPECT_EQ(stop(flags("updates", accumulate), "epoch 1/3 step 8/", SIGKILL), 137);
  EXPECT_EQ(progress_of(dir() / "updates")["batch"], 6);
  ASSERT_EQ(run_program(flags("updates", accumulate)).code, 0);
  ASSERT_EQ(run_program(flags("updates-whole", {"--accumulate", "2", "-b", "16"})).code, 0);
  expect_same_run(dir() / "updates-whole", dir() / "updates");
}

TEST_F(ProgramResume, TheCheckpointBeforeTakesThePlaceOfATornOne) {
  EXPECT_EQ(stop(flags("torn", {"--recovery-interval", "2"}), "epoch 2/3 step 5/", SIGKILL), 137);
  const fs::path last = dir() / "torn/last.safetensors";
  const json before = json::parse(load_tensors(dir() / "torn/previous.safetensors").metadata.at("progress"));
  const std::string good = read_text(last);
  write_text(last, good.substr(0, good.size() / 2) + std::string(good.size() - good.size() / 2, '\0'));
  const Outcome rest = run_program({"train", "--resume", (dir() / "torn").string()});
  ASSERT_EQ(rest.code, 0) << rest.err;
  const std::string place =
      concat_text("resuming at epoch ", before["epoch"].get<int>() + 1, " step ", before["batch"].get<int>());
  for (const std::string& part : {std::string("warning: [load_tensors] "), std::string("damaged: its checksum is"),
                                  std::string("resuming from the checkpoint before it"), place})
    EXPECT_NE(rest.err.find(part), std::string::npos) << part << " in " << rest.err;
  expect_same_run(whole(), dir() / "torn");
}

TEST_F(ProgramResume, OtherDataAreRefused) {
  const TempDir other;
  write_data(other / "data");
  std::string images = read_text(other / "data/train-images-idx3-ubyte");
  images[5000] = static_cast<char>(images[5000] ^ 1);
  write_text(other / "data/train-images-idx3-ubyte", images);
  expect_refused(
      run_program({"train", "--resume", whole().string(), "--data-dir", (other / "data").string(), "--epochs", "4"}), 1,
      {"last.safetensors", "the training data are not those of the checkpoint"});
}

}  // namespace
}  // namespace fulcrum::testing
