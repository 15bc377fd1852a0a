// Cells of a grid that differ only in what begins late train the epochs before it once, and each is the run that it
// would be alone.
#include "apps/grid/shared_epochs.h"
#include "grid_testing.h"

namespace fulcrum::testing {
namespace {

namespace fs = std::filesystem;

// Of four epochs class weights begin after two, a risk after three or two.
const std::string kMethods = R"(
title = 'Late starts'
recipe = 'fashion-mnist-lt'
seeds = 1
[[variant]]
name = '0.1'
set = ['data.imb_type=exp', 'data.imb_factor=0.1', 'train.epochs=4']
[[method]]
name = 'ce'
title = 'CE'
[[method]]
name = 'drw'
title = 'CE, deferred class weights'
set = ['loss.class_weights=balanced', 'loss.drw_epoch=2']
[[method]]
name = 'kl'
title = 'ABSGD'
set = ['risk.name=kl', 'risk.lambda=5', 'risk.from_epoch=3']
[[method]]
name = 'kl-drw'
title = 'ABSGD whose u begins with 0, and class weights before it'
set = ['risk.name=kl', 'risk.lambda=5', 'risk.alpha=0.5', 'risk.additive=1', 'risk.u_init=zero', 'risk.from_epoch=3',
       'loss.class_weights=balanced', 'loss.drw_epoch=2']
[[method]]
name = 'kl_ball'
title = 'KL ball'
set = ['risk.name=kl_ball', 'risk.from_epoch=3']
[[method]]
name = 'kl_ball-512'
title = 'KL ball with another window'
set = ['risk.name=kl_ball', 'risk.window=512', 'risk.from_epoch=3']
[[method]]
name = 'cvar'
title = 'CVaR'
set = ['risk.name=cvar', 'risk.from_epoch=2']
[[method]]
name = 'chi2'
title = 'chi2'
set = ['risk.name=chi2', 'risk.from_epoch=2']
[[method]]
name = 'rgd'
title = 'RGD'
set = ['risk.name=rgd', 'risk.from_epoch=2']
[[method]]
name = 'group'
title = 'Group DRO'
set = ['risk.name=group', 'risk.from_epoch=2']
[[method]]
name = 'focal'
title = 'Another loss'
set = ['loss.name=focal']
)";

class ProgramSharedEpochs : public ProgramSuite {
 protected:
  static void SetUpTestSuite() {
    ProgramSuite::SetUpTestSuite();
    write_text(dir() / "late.toml", kMethods);
    whole_ = new Outcome(run_program(flags("whole")));
    ASSERT_EQ(whole_->code, 0) << whole_->err;
  }
  static void TearDownTestSuite() {
    ProgramSuite::TearDownTestSuite();
    delete whole_;
  }
  static Flags flags(const std::string& output, const Flags& more = {}) {
    return grid_flags(dir(), output, {"reproduce", (dir() / "late.toml").string()}, more);
  }
  static fs::path cell(const std::string& output, const std::string& method) {
    return dir() / output / "0.1" / method / "seed0";
  }
  static inline Outcome* whole_ = nullptr;
};

TEST_F(ProgramSharedEpochs, EveryCellIsTheRunOfItsSettings) {
  for (const char* method :
       {"ce", "drw", "kl", "kl-drw", "kl_ball", "kl_ball-512", "cvar", "chi2", "rgd", "group", "focal"}) {
    SCOPED_TRACE(method);
    const std::string alone = std::string("alone-") + method;
    const Outcome got =
        run_program({"train", "--recipe", (cell("whole", method) / "config.toml").string(), "-o", dir() / alone});
    ASSERT_EQ(got.code, 0) << got.err;
    expect_same_run(cell("whole", method), dir() / alone);
    for (const char* file : {"last.safetensors", "best.safetensors"})
      EXPECT_EQ(load_tensors(cell("whole", method) / file).metadata.at("config"),
                read_text(cell("whole", method) / "config.toml"))
          << file;
  }
}

TEST_F(ProgramSharedEpochs, OnlyWhatDiffersIsTrained) {
  const auto first_epochs = [](const std::string& method) {
    const std::string log = read_text(cell("whole", method) / "log.txt");
    const std::string words = " epochs are copied from 0.1 ";
    const size_t at = log.find(words);
    if (at == std::string::npos) return std::string("none");
    return log.substr(at - 1, 1) + " of " +
           log.substr(at + words.size(), log.find(' ', at + words.size()) - at - words.size());
  };
  EXPECT_EQ(first_epochs("ce"), "none");
  EXPECT_EQ(first_epochs("drw"), "2 of ce");
  EXPECT_EQ(first_epochs("kl"), "3 of ce");
  EXPECT_EQ(first_epochs("kl-drw"), "2 of ce");
  EXPECT_EQ(first_epochs("kl_ball"), "3 of ce");
  EXPECT_EQ(first_epochs("group"), "2 of ce");
  EXPECT_EQ(first_epochs("focal"), "none");
  // Nothing is kept for cells that are done.
  for (const auto& entry : fs::recursive_directory_iterator(dir() / "whole"))
    EXPECT_EQ(entry.path().filename().string().find("epochs-"), std::string::npos) << entry.path();
}

TEST_F(ProgramSharedEpochs, KilledInTheMiddleAndContinuedGivesTheSameBytes) {
  const fs::path moments[] = {cell("killed", "ce") / "epochs-2", cell("killed", "ce") / "result.json",
                              cell("killed", "drw") / "last.safetensors", cell("killed", "kl") / "log.txt"};
  for (const fs::path& moment : moments) {
    Program program(flags("killed"));
    ASSERT_TRUE(wait_for_file(program, moment)) << program.err();
    program.signal(SIGKILL);
    ASSERT_EQ(program.wait(), 137);
  }
  const Outcome rest = run_program(flags("killed"));
  ASSERT_EQ(rest.code, 0) << rest.err;
  EXPECT_NE(rest.err.find("the first 2 epochs are copied from 0.1 ce seed 0"), std::string::npos) << rest.err;
  EXPECT_EQ(read_text(dir() / "killed/grid.json"), read_text(dir() / "whole/grid.json"));
  for (const char* method : {"ce", "drw", "kl", "kl_ball"})
    expect_same_run(cell("killed", method), cell("whole", method));
}

// A copy that lies there from other settings is nobody's beginning.
TEST_F(ProgramSharedEpochs, EpochsOfOtherSettingsAreNotTaken) {
  {
    Program program(flags("stale", {"--methods", "ce,drw"}));
    ASSERT_TRUE(wait_for_file(program, cell("stale", "ce") / "epochs-2")) << program.err();
    program.signal(SIGKILL);
    ASSERT_EQ(program.wait(), 137);
  }
  for (const char* file : {"last.safetensors", "previous.safetensors"}) fs::remove(cell("stale", "ce") / file);
  fs::create_directory(cell("stale", "ce") / "epochs-3.part");
  const Outcome got = run_program(flags("stale", {"--methods", "drw,ce", "--set", "optim.lr=0.05"}));
  ASSERT_EQ(got.code, 0) << got.err;
  EXPECT_EQ(read_text(cell("stale", "drw") / "log.txt").find("epochs are copied from"), std::string::npos);
  EXPECT_NE(read_text(cell("stale", "ce") / "log.txt").find("the first 2 epochs are copied from 0.1 drw"),
            std::string::npos);
  for (const auto& entry : fs::directory_iterator(cell("stale", "ce")))
    EXPECT_EQ(entry.path().filename().string().find("epochs-"), std::string::npos) << entry.path();
}

// A command for a part of the grid leaves what was kept for the rest of it, and removes it when nothing waits.
TEST_F(ProgramSharedEpochs, EpochsKeptForAMethodStayWhileOthersAreAskedFor) {
  const auto run = [](const char* methods) { return run_program(flags("parts", {"--methods", methods})); };
  {
    Program program(flags("parts", {"--methods", "ce,drw"}));
    ASSERT_TRUE(wait_for_file(program, cell("parts", "ce") / "epochs-2")) << program.err();
    program.signal(SIGKILL);
    ASSERT_EQ(program.wait(), 137);
  }
  ASSERT_EQ(run("ce,focal").code, 0);
  EXPECT_TRUE(fs::exists(cell("parts", "ce") / "epochs-2"));
  const Outcome listed = run_program(flags("parts", {"--methods", "drw", "--dry-run"}));
  EXPECT_NE(listed.out.find("the first 2 epochs copied from 0.1 ce"), std::string::npos) << listed.out;
  ASSERT_EQ(run("drw").code, 0);
  EXPECT_NE(read_text(cell("parts", "drw") / "log.txt").find("the first 2 epochs are copied from 0.1 ce"),
            std::string::npos);
  expect_same_run(cell("parts", "drw"), cell("whole", "drw"));
  ASSERT_EQ(run_program(flags("parts")).code, 0);
  for (const auto& entry : fs::recursive_directory_iterator(dir() / "parts"))
    EXPECT_EQ(entry.path().filename().string().find("epochs-"), std::string::npos) << entry.path();
}

// Until its first own checkpoint, too, the settings in the directory are the cell's.
TEST_F(ProgramSharedEpochs, ACellThatWasJustGivenItsEpochsGoesOnAlone) {
  {
    Program program(flags("given", {"--methods", "ce,kl"}));
    ASSERT_TRUE(wait_for_file(program, cell("given", "kl") / "last.safetensors")) << program.err();
    program.signal(SIGKILL);
    ASSERT_EQ(program.wait(), 137);
  }
  const Outcome got = run_program({"train", "--resume", cell("given", "kl")});
  ASSERT_EQ(got.code, 0) << got.err;
  expect_same_run(cell("given", "kl"), cell("whole", "kl"));
}

TEST_F(ProgramSharedEpochs, SweepsShareThem) {
  const Outcome got = run_program(grid_flags(
      dir(), "sweep",
      {"sweep", "--epochs", "3", "--opt", "absgd", "--grid", "risk.lambda=2,5,inf", "--set", "risk.from_epoch=2"}));
  ASSERT_EQ(got.code, 0) << got.err;
  for (const char* later : {"5", "inf"})
    EXPECT_NE(read_text(dir() / "sweep" / (std::string("risk.lambda=") + later) / "seed0/log.txt")
                  .find("the first 2 epochs are copied from"),
              std::string::npos);
}

TEST_F(ProgramSharedEpochs, TheListOfWorkCountsThemOnce) {
  const Outcome got = run_program(flags("dry", {"--methods", "ce,kl", "--dry-run"}));
  ASSERT_EQ(got.code, 0) << got.err;
  EXPECT_NE(got.out.find("the first 3 epochs copied from 0.1 ce seed 0"), std::string::npos) << got.out;
}

// ---- which epochs two runs have in common ----

apps::Config with(const Flags& settings) {
  apps::Config c;
  c.train.epochs = 10;
  for (const std::string& s : settings) apps::set_key(c, s, "test");
  return c;
}

TEST(CommonEpochs, EndWhereSomethingThatDiffersBegins) {
  const auto common = [](const Flags& a, const Flags& b) {
    const int64_t epochs = apps::common_epochs(with(a), with(b));
    EXPECT_EQ(epochs, apps::common_epochs(with(b), with(a)));
    return epochs;
  };
  const Flags plain = {}, kl = {"risk.name=kl", "risk.lambda=5", "risk.from_epoch=8"};
  const Flags drw = {"loss.class_weights=balanced", "loss.drw_epoch=6"};
  const Flags both = {"loss.class_weights=balanced", "loss.drw_epoch=6", "risk.name=kl", "risk.lambda=5",
                      "risk.from_epoch=8"};
  EXPECT_EQ(common(plain, plain), 10);
  EXPECT_EQ(common(plain, kl), 8);
  EXPECT_EQ(common(plain, drw), 6);
  EXPECT_EQ(common(kl, drw), 6);
  EXPECT_EQ(common(kl, both), 6);
  EXPECT_EQ(common(kl, {"risk.name=kl", "risk.lambda=2", "risk.from_epoch=8"}), 8);
  EXPECT_EQ(common(kl, {"risk.name=kl", "risk.lambda=5", "risk.from_epoch=7"}), 7);
  EXPECT_EQ(common(kl, {"risk.name=kl", "risk.lambda=5"}), 0);
  EXPECT_EQ(common(plain, {"loss.class_weights=balanced"}), 0);
  EXPECT_EQ(common(plain, {"risk.name=cvar", "risk.from_epoch=12"}), 10);
  EXPECT_EQ(common(plain, {"train.seed=1"}), 0);
  EXPECT_EQ(common(plain, {"optim.lr=0.2"}), 0);
  // Numbers of what is not there do nothing.
  EXPECT_EQ(common(plain, {"risk.lambda=2", "risk.from_epoch=3", "loss.drw_epoch=4", "loss.cb_beta=0.9"}), 10);
  EXPECT_EQ(common(kl, {"risk.lambda=2"}), 8);
  EXPECT_EQ(common(plain, {"train.threads=2"}), 10);
  EXPECT_EQ(common(kl, {"loss.name=sce", "risk.name=kl", "risk.lambda=5", "risk.from_epoch=8"}), 0);
}

// Under class weights the plain mean divides by their sum, and a risk that has not begun does not.
TEST(CommonEpochs, KnowThatTheMeanIsNormalised) {
  const Flags drw = {"loss.class_weights=balanced", "loss.drw_epoch=6"};
  Flags late = drw, undivided = drw;
  late.insert(late.end(), {"risk.name=kl", "risk.lambda=5", "risk.from_epoch=8"});
  undivided.push_back("risk.normalize=batch");
  EXPECT_EQ(apps::common_epochs(with(drw), with(late)), 6);
  EXPECT_EQ(apps::common_epochs(with(undivided), with(late)), 8);
  EXPECT_EQ(apps::common_epochs(with(undivided), with(drw)), 6);
}

}  // namespace
}  // namespace fulcrum::testing
