// fulcrum reproduce: a grid that is killed and goes on, its tables, what it refuses.
#include <fulcrum/core/cuda/runtime.h>

#include "apps/commands.h"
#include "apps/grid/grid.h"
#include "grid_testing.h"

namespace fulcrum::testing {
namespace {

namespace fs = std::filesystem;

const Flags kGrid = {"reproduce",         "fashion-mnist-lt", "--ratios", "0.1",      "--methods",
                     "ce,absgd-ldam-drw", "--seeds",          "2",        "--epochs", "3"};

class ProgramReproduce : public ProgramSuite {
 protected:
  static void SetUpTestSuite() {
    ProgramSuite::SetUpTestSuite();
    const Outcome whole = run_program(flags("whole"));
    ASSERT_EQ(whole.code, 0) << whole.err;
    out_ = whole.out, err_ = whole.err;
  }
  static Flags flags(const std::string& output, const Flags& more = {}) {
    return grid_flags(dir(), output, kGrid, more);
  }
  /// A grid of the file's text, on the data and its seed 0 alone.
  static Outcome run_file(const std::string& output, const std::string& text, const Flags& more = {}) {
    write_text(dir() / "mine.toml", text);
    Flags all = {"--epochs", "1"};
    all.insert(all.end(), more.begin(), more.end());
    return run_program(grid_flags(dir(), output, {"reproduce", (dir() / "mine.toml").string()}, all));
  }
  static json table_of(const std::string& output) { return json::parse(read_text(dir() / output / "grid.json")); }
  static inline std::string out_, err_;
};

const std::string kHead =
    "title = 'Mine'\nrecipe = 'fashion-mnist-lt'\nseeds = 2\n"
    "[[variant]]\nname = '0.5'\nset = ['data.imb_type=exp', 'data.imb_factor=0.5']\n"
    "[[method]]\nname = 'ce'\ntitle = 'Cross entropy'\n";

TEST_F(ProgramReproduce, WritesTablesOfMeanAndDeviation) {
  const json table = table_of("whole");
  EXPECT_EQ(json::parse(out_), table);
  EXPECT_EQ(table["missing"], json::array());
  ASSERT_EQ(table["rows"].size(), 2u);
  const json& row = table["rows"][0];
  EXPECT_EQ(row["method"], "ce");
  EXPECT_EQ(row["epochs"], 3);
  double values[2];
  for (int s = 0; s < 2; s++) {
    const json result = json::parse(read_text(dir() / "whole/0.1/ce" / ("seed" + std::to_string(s)) / "result.json"));
    values[s] = result["loss"];
    EXPECT_EQ(row["last"]["top1"]["values"][static_cast<size_t>(s)], result["top1"]);
    EXPECT_EQ(row["best"]["top1"]["values"][static_cast<size_t>(s)], result["best"]["top1"]);
  }
  EXPECT_EQ(row["best"]["selected_on"], "test");
  EXPECT_NEAR(row["last"]["loss"]["mean"].get<double>(), (values[0] + values[1]) / 2, 1e-12);
  EXPECT_NEAR(row["last"]["loss"]["sd"].get<double>(), std::abs(values[0] - values[1]) / std::sqrt(2), 1e-12);
  EXPECT_GT(row["last"]["loss"]["sd"].get<double>(), 0);
  EXPECT_NE(err_.find(read_text(dir() / "whole/grid.md")), std::string::npos);
  const std::string page = read_text(dir() / "whole/report.html");
  for (const char* part : {"Long-tailed Fashion-MNIST", "<svg", "0.1/ce/seed0/report.html"})
    EXPECT_NE(page.find(part), std::string::npos) << part;
}

// One process runs all cells: nothing of the first is left in the last.
TEST_F(ProgramReproduce, ACellIsTheRunOfItsSettings) {
  const fs::path cell = dir() / "whole/0.1/absgd-ldam-drw/seed1";
  const Outcome alone = run_program({"train", "--recipe", (cell / "config.toml").string(), "-o", dir() / "alone"});
  ASSERT_EQ(alone.code, 0) << alone.err;
  expect_same_run(cell, dir() / "alone");
}

TEST_F(ProgramReproduce, SettingsAreThoseOfMethodAndVariantScaledToTheEpochs) {
  const std::string config = read_text(dir() / "whole/0.1/absgd-ldam-drw/seed1/config.toml");
  for (const char* part : {"imb_factor = 0.1", "name = 'ldam'", "name = 'kl'", "lambda = 100.0", "drw_epoch = 2",
                           "from_epoch = 2", "epochs = 3", "seed = 1"})
    EXPECT_NE(config.find(part), std::string::npos) << part;
}

TEST_F(ProgramReproduce, KilledInTheMiddleAndContinuedGivesTheSameBytes) {
  // In the second cell after a checkpoint, in the third before one, and while the last ends.
  const fs::path moments[] = {dir() / "killed/0.1/ce/seed1/last.safetensors",
                              dir() / "killed/0.1/absgd-ldam-drw/seed0/config.toml",
                              dir() / "killed/0.1/absgd-ldam-drw/seed1/last.safetensors"};
  for (const fs::path& moment : moments) {
    Program program(flags("killed"));
    ASSERT_TRUE(wait_for_file(program, moment)) << program.err();
    program.signal(SIGKILL);
    ASSERT_EQ(program.wait(), 137);
  }
  const fs::file_time_type first = fs::last_write_time(dir() / "killed/0.1/ce/seed0/result.json");
  const Outcome rest = run_program(flags("killed"));
  ASSERT_EQ(rest.code, 0) << rest.err;
  EXPECT_EQ(fs::last_write_time(dir() / "killed/0.1/ce/seed0/result.json"), first);
  EXPECT_EQ(rest.err.find("cell 1 of 4"), std::string::npos) << rest.err;
  EXPECT_NE(rest.err.find("resuming at epoch"), std::string::npos) << rest.err;
  for (const char* file : {"grid.json", "grid.md"})
    EXPECT_EQ(read_text(dir() / "killed" / file), read_text(dir() / "whole" / file)) << file;
  for (const char* cell : {"ce/seed1", "absgd-ldam-drw/seed0", "absgd-ldam-drw/seed1"})
    expect_same_run(dir() / "killed/0.1" / cell, dir() / "whole/0.1" / cell);
  EXPECT_EQ(rest.out, out_);
}

TEST_F(ProgramReproduce, StoppedBySignalsItKeepsAPartialTable) {
  Program program(flags("stopped"));
  ASSERT_TRUE(program.wait_for("cell 2 of 4")) << program.err();
  program.signal(SIGTERM);
  EXPECT_EQ(program.wait(), 143);
  EXPECT_EQ(program.out(), "");
  EXPECT_NE(program.err().find("run the same command again to continue"), std::string::npos) << program.err();
  const json table = table_of("stopped");
  ASSERT_EQ(table["rows"].size(), 1u);
  EXPECT_EQ(table["rows"][0]["seeds"], json({0}));
  EXPECT_EQ(table["rows"][0]["last"]["top1"]["sd"], json());
  ASSERT_EQ(table["missing"].size(), 3u);
  EXPECT_EQ(table["missing"][0]["seed"], 1);
  EXPECT_EQ(table["missing"][2]["state"], "not begun");
  EXPECT_NE(read_text(dir() / "stopped/grid.md").find("Partial: 3 cells are missing"), std::string::npos);
  const Outcome rest = run_program(flags("stopped"));
  ASSERT_EQ(rest.code, 0) << rest.err;
  EXPECT_EQ(read_text(dir() / "stopped/grid.json"), read_text(dir() / "whole/grid.json"));
}

TEST_F(ProgramReproduce, ChangedSettingsAreRefused) {
  expect_refused(run_program(flags("whole", {"--set", "optim.lr=0.05"})), 2,
                 {"cell 0.1 ce seed 0", "holds a run of other settings", "optim.lr: 0.1 -> 0.05"});
  Flags longer = flags("whole");
  *std::find(longer.begin(), longer.end(), "3") = "4";
  expect_refused(run_program(longer), 2, {"train.epochs: 3 -> 4"});
}

TEST_F(ProgramReproduce, ListsTheWorkAndTrainsNothing) {
  const Outcome got = run_program(flags("dry", {"--dry-run"}));
  ASSERT_EQ(got.code, 0) << got.err;
  EXPECT_FALSE(fs::exists(dir() / "dry"));
  EXPECT_NE(got.out.find("0.1 absgd-ldam-drw seed 1"), std::string::npos) << got.out;
  EXPECT_NE(got.out.find("3 epochs of"), std::string::npos) << got.out;
  EXPECT_NE(got.out.find("4 cells, 4 to train: about"), std::string::npos) << got.out;
  const Outcome done = run_program(flags("whole", {"--dry-run"}));
  EXPECT_NE(done.out.find("4 cells, 0 to train"), std::string::npos) << done.out;
}

TEST_F(ProgramReproduce, SmokeRunsEveryMethodOfBothGrids) {
  for (const auto& [grid, variant] :
       {std::pair("fashion-mnist-lt", "0.1"), std::pair("fashion-mnist-noise", "sym-0.4")}) {
    const std::string output = std::string("smoke-") + grid;
    const Outcome got =
        run_program(grid_flags(dir(), output, {"reproduce", grid, "--ratios", variant, "--seeds", "1", "--smoke"}));
    ASSERT_EQ(got.code, 0) << got.err;
    const json table = table_of(output);
    EXPECT_EQ(table["rows"].size(), apps::load_grid(grid).methods.size());
    EXPECT_EQ(table["rows"][0]["epochs"], 2);
    EXPECT_NE(table["length"].get<std::string>().find("the numbers mean nothing"), std::string::npos);
  }
}

TEST_F(ProgramReproduce, ComparesWithPublishedFigures) {
  const std::string figure = "[[published]]\nvariant = '0.5'\nmethod = 'ce'\n";
  std::string text = kHead + figure + "top1 = 99.9\nsource = 'a README'\nnote = 'their network'\n" + figure +
                     "top1 = 99\nepoch = 'best'\nsource = 'a paper'\n";
  // Short by the grid itself, so that the runs are those of its protocol.
  text.replace(text.find("set = ['data.imb"), 7,
               "set = ['train.epochs=1', 'train.batch_size=32', 'train.limit_batches=4', ");
  write_text(dir() / "whole-protocol.toml", text);
  const auto run = [&](const std::string& output, const Flags& more) {
    Flags words = {"reproduce", dir() / "whole-protocol.toml", "--data-dir", dir() / "data", "--threads", "1"};
    words.insert(words.end(), {"-o", dir() / output});
    words.insert(words.end(), more.begin(), more.end());
    return run_program(words);
  };
  const Outcome got = run("published", {});
  ASSERT_EQ(got.code, 0) << got.err;
  EXPECT_EQ(table_of("published")["changed"], json::array());
  const json row = table_of("published")["rows"][0];
  const double mean = row["last"]["top1"]["mean"], sd = row["last"]["top1"]["sd"];
  const json& first = row["published"][0];
  EXPECT_NEAR(first["difference"].get<double>(), mean - 0.999, 1e-12);
  EXPECT_TRUE(first["beyond_two_sd"]) << 0.999 - mean << " of " << sd;
  const std::string table = read_text(dir() / "published/grid.md");
  EXPECT_NE(table.find("99.90 [1], 99.00 best [2]"), std::string::npos) << table;
  EXPECT_NE(table.find("[1] a README; their network"), std::string::npos) << table;
  const std::string page = read_text(dir() / "published/report.html");
  EXPECT_NE(page.find("99.00 best"), std::string::npos);
  // Runs of another protocol say what was changed, and no difference is marked.
  const Outcome other = run("changed", {"--set", "optim.lr=0.05", "--set", "optim.momentum=0.8", "--epochs", "2"});
  ASSERT_EQ(other.code, 0) << other.err;
  EXPECT_EQ(table_of("changed")["changed"], json({"optim.lr=0.05", "optim.momentum=0.8"}));
  EXPECT_FALSE(table_of("changed")["rows"][0]["published"][0]["beyond_two_sd"]);
  for (const char* file : {"changed/grid.md", "changed/report.html"})
    for (const char* part : {"Trained for 2 epochs instead of 1",
                             "Changed from the protocol: optim.lr=0.05, optim.momentum=0.8.", "(!) is not used here"})
      EXPECT_NE(read_text(dir() / file).find(part), std::string::npos) << file << ": " << part;
}

TEST_F(ProgramReproduce, NamesCellsThatWereTestedOnOtherImages) {
  fs::copy(dir() / "data", dir() / "data2", fs::copy_options::recursive);
  const fs::path labels = dir() / "data2/t10k-labels-idx1-ubyte";
  std::string bytes = read_text(labels);
  bytes.back() = static_cast<char>(bytes.back() == 0 ? 1 : 0);
  write_text(labels, bytes);
  const Flags words = {"reproduce", "fashion-mnist-lt", "--ratios", "0.1", "--methods", "ce", "--epochs", "1"};
  ASSERT_EQ(run_program(grid_flags(dir(), "mixed", words, {"--seeds", "1"})).code, 0);
  EXPECT_EQ(table_of("mixed")["other_data"], json::array());
  Flags second = grid_flags(dir(), "mixed", words, {"--seeds", "2"});
  *std::ranges::find(second, std::string(dir() / "data")) = dir() / "data2";
  ASSERT_EQ(run_program(second).code, 0);
  EXPECT_EQ(table_of("mixed")["other_data"], json({"0.1 ce seed 1"}));
  EXPECT_NE(read_text(dir() / "mixed/grid.md").find("Warning: 0.1 ce seed 1 was tested on other images"),
            std::string::npos);
}

TEST_F(ProgramReproduce, NamesStandOnce) {
  const auto refused = [&](const std::string& more, const char* what) {
    const Outcome got = run_file("twice", kHead + more);
    expect_refused(got, 2, {what, "stands twice"});
  };
  refused("[[variant]]\nname = '0.5'\nset = ['data.imb_factor=0.1']\n", "line 10: variant: the name '0.5'");
  refused("[[method]]\nname = 'ce'\ntitle = 'Another'\nset = ['risk.name=kl']\n", "line 10: method: the name 'ce'");
}

TEST_F(ProgramReproduce, ANonFiniteCellDoesNotKeepTheOthers) {
  const Outcome got = run_file("diverged", kHead +
                                               "set = ['optim.lr=1e30']\n"
                                               "[[method]]\nname = 'gce'\ntitle = 'GCE'\nset = ['loss.name=gce']\n");
  EXPECT_EQ(got.code, 3) << got.err;
  EXPECT_EQ(got.out, "");
  const json table = table_of("diverged");
  ASSERT_EQ(table["rows"].size(), 1u);
  EXPECT_EQ(table["rows"][0]["method"], "gce");
  ASSERT_EQ(table["missing"].size(), 2u);
  EXPECT_EQ(table["missing"][0]["state"], "non-finite numbers in epoch 1");
}

TEST_F(ProgramReproduce, RefusesNonsenseBeforeItTrains) {
  const auto refused = [&](const Flags& words, const Flags& parts) {
    expect_refused(run_program(grid_flags(dir(), "refused", words)), 2, parts);
  };
  refused({"reproduce", "cifar10-tl"},
          {"no grid or file 'cifar10-tl'", "did you mean 'cifar10-lt'?", "fashion-mnist-noise"});
  const std::string grid = "fashion-mnist-lt";
  refused({"reproduce", grid, "--methods", "ce,absdg"}, {"--methods: expected one of ce, focal", "got 'absdg'"});
  refused({"reproduce", grid, "--methods", ""}, {"--methods: expected names with commas"});
  refused({"reproduce", grid, "--methods", "ce,,focal"}, {"--methods"});
  refused({"reproduce", grid, "--methods", "ce,ce"}, {"--methods: 'ce' stands twice"});
  refused({"reproduce", grid, "--ratios", "0.5"}, {"--ratios: expected one of 0.1, 0.01; got '0.5'"});
  refused({"reproduce", grid, "--seeds", "0"}, {"--seeds"});
  refused({"reproduce", grid, "--epochs", "0"}, {"--epochs"});
  refused({"reproduce", grid, "--set", "train.epochs=3"}, {"--set: train.epochs is the grid's", "--epochs"});
  refused({"reproduce", grid, "--set", "loss.gce_q=2"}, {"loss.gce_q", "(0, 1]"});
  refused({"reproduce", grid, "--set", "model.name=resnet9"}, {"cell 0.1 ce seed 0", "resnet9"});
  if (cuda::device_count() == 0) refused({"reproduce", grid, "--device", "cuda"}, {"train.device"});
  EXPECT_FALSE(fs::exists(dir() / "refused"));
  expect_refused(run_program({"reproduce", grid, "--data-dir", dir() / "nowhere", "-o", dir() / "refused"}), 1,
                 {"cell 0.1 ce seed 0", "found no train-images-idx3-ubyte", "nowhere"});
  EXPECT_FALSE(fs::exists(dir() / "refused"));
}

TEST_F(ProgramReproduce, RefusesGridsThatAreWrong) {
  const auto refused = [&](const std::string& text, const Flags& parts) {
    expect_refused(run_file("refused", text), 2, parts);
  };
  refused("title = 'x'\n[[variant\n", {"line 2"});
  refused(kHead + "sett = []\n", {"line 7: method", "unknown key 'sett'; did you mean 'set'?"});
  refused("title = 'x'\nrecipe = 'fashion-mnist-lt'\n[[method]]\nname = 'a'\ntitle = 'A'\n",
          {"at least one [[variant]]"});
  refused("title = 'x'\nrecipe = 'fashion-mnist-lt'\n[[variant]]\nname = 'a'\n", {"at least one [[method]]"});
  refused("title = 'x'\nrecipe = 'nothing'\n" + kHead.substr(kHead.find("seeds")), {"no recipe or file 'nothing'"});
  refused(kHead + "set = ['risk.lamda=1']\n", {"ce: unknown key 'risk.lamda'; did you mean 'risk.lambda'?"});
  refused(kHead + "[[method]]\nname = '../a'\ntitle = 'x'\n", {"name: expected letters"});
  const std::string figure = "[[published]]\nvariant = '0.5'\nmethod = 'ce'\ntop1 = 70\nsource = 'x'\n";
  refused(kHead + figure + "certainty = 'S'\n", {"unknown key 'certainty'"});
  refused(kHead + "[[published]]\nvariant = '0.5'\nmethod = 'sce'\ntop1 = 70\nsource = 'x'\n", {"no method 'sce'"});
  refused("methods_of = '" + (dir() / "mine.toml").string() + "'\n" + kHead, {"round in a circle"});
  EXPECT_FALSE(fs::exists(dir() / "refused"));
}

// ---- the grids that are built in ----

TEST(Grids, EveryCellOfEveryGridHasSettingsThatGoTogether) {
  for (const std::string& name : apps::grid_names()) {
    const apps::Grid grid = apps::load_grid(name);
    const auto cells = apps::cells_of(grid, {.output = "x"}, apps::SettingsFlags());
    EXPECT_EQ(cells.size(), grid.variants.size() * grid.methods.size() * 3) << name;
    for (const apps::PublishedFigure& p : grid.published) EXPECT_TRUE(p.top1 > 0.03 && p.top1 < 0.95) << name;
  }
}

TEST(Grids, AbsgdForNoisyLabelsHasTheSettingsOfItsRecipe) {
  for (const std::string name : {"cifar10-noise", "cifar100-noise"}) {
    apps::Config recipe;
    apps::load_toml(recipe, apps::recipe_text(name), name);
    for (const apps::Cell& cell : apps::cells_of(apps::load_grid(name), {.output = "x"}, apps::SettingsFlags())) {
      if (!cell.method.starts_with("absgd")) continue;
      const apps::RiskSettings &ours = cell.config.risk, &theirs = recipe.risk;
      EXPECT_EQ(ours.name, "kl");
      EXPECT_EQ(ours.lambda, theirs.lambda);
      EXPECT_EQ(ours.gamma, theirs.gamma);
      EXPECT_EQ(ours.alpha, theirs.alpha);
      EXPECT_EQ(ours.additive, theirs.additive);
      EXPECT_EQ(ours.u_init, theirs.u_init);
      EXPECT_EQ(ours.from_epoch, theirs.from_epoch);
    }
  }
}

TEST(Grids, TheScheduleMovesWithTheEpochs) {
  apps::Config c;
  c.train.epochs = 200;
  c.schedule.milestones = {160, 180};
  c.schedule.warmup = 5;
  c.schedule.step_size = 30;
  c.loss.drw_epoch = 160;
  c.risk.from_epoch = 80;
  c.loss.tgce_prune_epoch = 81;
  apps::scale_epochs(c, 15);
  EXPECT_EQ(c.train.epochs, 15);
  EXPECT_EQ(c.schedule.milestones, (std::vector<int64_t>{12, 13}));
  EXPECT_EQ(c.schedule.warmup, 0);
  EXPECT_EQ(c.schedule.step_size, 2);
  EXPECT_EQ(c.loss.drw_epoch, 12);
  EXPECT_EQ(c.risk.from_epoch, 6);
  EXPECT_EQ(c.loss.tgce_prune_epoch, 6);
  // What begins late begins in a run of one epoch, too; pruning, which 0 would switch off, after it.
  apps::scale_epochs(c, 1);
  EXPECT_EQ(c.loss.drw_epoch, 0);
  EXPECT_EQ(c.loss.tgce_prune_epoch, 1);
}

}  // namespace
}  // namespace fulcrum::testing
