// The table of settings: TOML in and out, --set, refusals.
#include <fstream>
#include <set>

#include "apps/config.h"
#include "apps/risks.h"
#include "apps/warnings.h"

#include "testing.h"

namespace fulcrum::testing {
namespace {

using apps::Config;
using apps::Key;
using apps::UsageError;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Expects a UsageError with every part.
template <class F>
void expect_usage(F&& f, const std::vector<std::string>& parts) {
  try {
    f();
    ADD_FAILURE() << "expected a UsageError with '" << parts[0] << "'";
  } catch (const UsageError& e) {
    for (const std::string& part : parts)
      EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << "expected '" << part << "' in: " << e.what();
  }
}

Config loaded(const std::string& text) {
  Config config;
  load_toml(config, text, "test.toml");
  return config;
}
Config set(const std::string& assignment) {
  Config config;
  set_key(config, assignment, "--set");
  return config;
}
Config finished(const std::string& assignment) {
  Config config = set(assignment);
  finish(config);
  return config;
}

// Changes every field to something that is not its default.
struct Change {
  void operator()(bool* v) const { *v = !*v; }
  void operator()(int64_t* v) const { *v += 3; }
  void operator()(double* v) const { *v = std::isinf(*v) ? -0.1 : *v / 3 + 1e-7; }
  void operator()(std::string* v) const { *v += "-\"quoted\" 'and' \\ \t ünïcode\n#"; }
  void operator()(std::vector<int64_t>* v) const { v->push_back(-7), v->push_back(1'000'000); }
  void operator()(std::vector<double>* v) const { v->push_back(0.1), v->push_back(1e-300); }
  void operator()(std::vector<std::string>* v) const { v->push_back("a, \"b\""), v->push_back(""); }
};

TEST(Config, SurvivesTheWayThroughToml) {
  Config config;
  EXPECT_TRUE(differences(config, loaded(to_toml(config)), {}).empty());
  for (const Key& key : keys_of(config)) std::visit(Change{}, key.field);
  EXPECT_EQ(differences(Config(), config, {}).size(), keys_of(config).size());
  EXPECT_TRUE(differences(config, loaded(to_toml(config)), {}).empty());
  // The printed form alone could hide a difference.
  const Config again = loaded(to_toml(config));
  EXPECT_EQ(again.optim.lr, config.optim.lr);
  EXPECT_EQ(again.data.dir, config.data.dir);
  EXPECT_EQ(again.schedule.milestones, config.schedule.milestones);
}

TEST(Config, EveryNumberSurvives) {
  for (const double v :
       {0.1, 1.0, -0.0, 1e-300, 5e-324, 1.7976931348623157e308, 1e22, 123456789.0, kInfinity, -kInfinity, 1.0 / 3}) {
    Config config;
    config.risk.lambda = v;
    const double got = loaded(to_toml(config)).risk.lambda;
    EXPECT_EQ(got, v);
    EXPECT_EQ(std::signbit(got), std::signbit(v));
  }
  Config config;
  config.risk.lambda = std::nan("");
  EXPECT_TRUE(std::isnan(loaded(to_toml(config)).risk.lambda));
}

TEST(Config, KeysAreUniqueAndExplained) {
  Config config;
  std::set<std::string> names;
  for (const Key& key : keys_of(config)) {
    EXPECT_TRUE(names.insert(key.name).second) << key.name;
    EXPECT_NE(std::string(key.help), "") << key.name;
    EXPECT_EQ(std::count(key.name, key.name + std::strlen(key.name), '.'), 1) << key.name;
  }
}

TEST(Config, LambdaOfEveryKind) {
  EXPECT_EQ(Config().risk.lambda, kInfinity);
  EXPECT_EQ(loaded("[risk]\nlambda = inf").risk.lambda, kInfinity);
  EXPECT_EQ(loaded("[risk]\nlambda = -inf").risk.lambda, -kInfinity);
  EXPECT_EQ(loaded("[risk]\nlambda = 5").risk.lambda, 5);
  EXPECT_EQ(set("risk.lambda=-inf").risk.lambda, -kInfinity);
  EXPECT_EQ(set("risk.lambda=-0.5").risk.lambda, -0.5);
}

TEST(Config, UnknownKeysNameTheNearestAndTheLine) {
  expect_usage([] { loaded("[optim]\nlr = 1.0\nmomentumm = 0.5\n"); },
               {"test.toml line 3: unknown key 'optim.momentumm'; did you mean 'optim.momentum'?"});
  expect_usage([] { loaded("[rsik]\nlambda = 1.0\n"); }, {"line 2", "'rsik.lambda'", "did you mean 'risk.lambda'?"});
  expect_usage([] { loaded("epochs = 3\n"); }, {"test.toml line 1", "'epochs'", "[section]"});
  expect_usage([] { set("train.epoch=3"); }, {"--set: unknown key 'train.epoch'", "'train.epochs'"});
}

TEST(Config, WrongTypesNameTheLineAndWhatIsNeeded) {
  const std::pair<const char*, const char*> cases[] = {
      {"[data]\nflip = 1", "test.toml line 2: data.flip takes true or false"},
      {"[train]\nepochs = 1.5", "line 2: train.epochs takes an integer"},
      {"[train]\nepochs = \"3\"", "train.epochs takes an integer"},
      {"[optim]\nlr = \"high\"", "optim.lr takes a number"},
      {"[optim]\nlr = true", "optim.lr takes a number"},
      {"[optim]\n\nlr = [0.1]", "line 3: optim.lr takes a number"},
      {"[model]\nname = 32", "model.name takes a string"},
      {"[schedule]\nmilestones = 3", "schedule.milestones takes a list of integers"},
      {"[schedule]\nmilestones = [1, 2.5]", "schedule.milestones takes a list of integers"},
      {"[data]\nmean = 0.5", "data.mean takes a list of numbers"},
      {"[data]\nstd = [0.5, \"x\"]", "data.std takes a list of numbers"},
      {"[optim]\nlr = ", "test.toml line 2"},
      {"[optim]\nlr = 1.0\nlr = 2.0", "test.toml line 3"}};
  for (const auto& [text, message] : cases) expect_usage([&] { loaded(text); }, {message});
}

TEST(Config, SetTakesEveryType) {
  EXPECT_TRUE(set("data.flip=true").data.flip);
  EXPECT_EQ(set("train.epochs=7").train.epochs, 7);
  EXPECT_EQ(set("optim.lr=1e-3").optim.lr, 1e-3);
  EXPECT_EQ(set("optim.lr=1").optim.lr, 1);
  EXPECT_EQ(set("schedule.milestones=[160, 180]").schedule.milestones, (std::vector<int64_t>{160, 180}));
  EXPECT_EQ(set("schedule.milestones=[]").schedule.milestones, std::vector<int64_t>{});
  EXPECT_EQ(set("data.mean=[0.5, 1, 1e-3]").data.mean, (std::vector<double>{0.5, 1, 1e-3}));
  EXPECT_EQ(set("data.mean=[]").data.mean, std::vector<double>{});
  // Strings with and without quotes; only the first = counts.
  EXPECT_EQ(set("model.name=resnet8").model.name, "resnet8");
  EXPECT_EQ(set("model.name=\"resnet8\"").model.name, "resnet8");
  EXPECT_EQ(set("model.name='resnet8'").model.name, "resnet8");
  EXPECT_EQ(set("data.dir=/a=b c").data.dir, "/a=b c");
  EXPECT_EQ(set("data.dir=").data.dir, "");
}

TEST(Config, SetRefusesWhatItCannotRead) {
  expect_usage([] { set("optim.lr"); }, {"--set: expected section.key=value, got 'optim.lr'"});
  expect_usage([] { set("=3"); }, {"unknown key ''"});
  expect_usage([] { set("optim.lr="); }, {"--set: optim.lr takes a number, got ''"});
  expect_usage([] { set("optim.lr=fast"); }, {"--set: optim.lr takes a number, got 'fast'"});
  expect_usage([] { set("train.epochs=2.5"); }, {"--set: train.epochs takes an integer"});
  expect_usage([] { set("data.flip=yes"); }, {"data.flip"});
}

TEST(Config, FinishSpellsOutShorthands) {
  for (const auto& [name, optimizer] : {std::pair("absgd", "sgd"), {"abadam", "adam"}, {"abadamw", "adamw"}}) {
    const Config c = finished(std::string("optim.name=") + name);
    EXPECT_EQ(c.optim.name, optimizer);
    EXPECT_EQ(c.risk.name, "kl");
  }
  EXPECT_EQ(finished("optim.name=adam").risk.name, "mean");
  Config twice = finished("optim.name=absgd");
  const Config once = twice;
  finish(twice);
  EXPECT_TRUE(differences(once, twice, {}).empty());
}

TEST(Config, FinishRefuses) {
  const std::pair<const char*, const char*> cases[] = {
      {"risk.lambda=0", "risk.lambda: expected a number outside (-1e-30, 1e-30), inf for plain SGD; got 0"},
      {"risk.lambda=-0.0", "risk.lambda: expected a number outside (-1e-30, 1e-30)"},
      {"risk.lambda=nan", "risk.lambda: expected a number outside (-1e-30, 1e-30), inf for plain SGD; got nan"},
      {"risk.lambda=1e-40", "risk.lambda: expected a number outside (-1e-30, 1e-30), inf for plain SGD; got 1e-40"},
      {"risk.lambda=-9.9e-31",
       "risk.lambda: expected a number outside (-1e-30, 1e-30), inf for plain SGD; got -9.9e-31"},
      {"optim.name=sdg", "optim.name: expected one of sgd, absgd"},
      {"risk.name=cvarr", "risk.name: expected one of"},
      {"risk.u_init=one", "risk.u_init: expected one of first_batch, zero; got 'one'"},
      {"data.name=mnst", "data.name: expected one of"},
      {"data.imb_type=expo", "data.imb_type: expected one of"},
      {"data.noise_type=random", "data.noise_type: expected one of"},
      {"data.sampler=none", "data.sampler: expected one of"},
      {"loss.name=mse", "loss.name: expected one of"},
      {"loss.class_weights=yes", "loss.class_weights: expected one of none, balanced"},
      {"train.amp=fp16", "train.amp: expected one of off, bf16"},
      {"data.imb_factor=0", "data.imb_factor: expected a number in (0, 1], got 0"},
      {"data.imb_factor=1.01", "data.imb_factor"},
      {"data.imb_factor=nan", "data.imb_factor"},
      {"data.val_fraction=1", "data.val_fraction: expected a number in [0, 1), got 1"},
      {"data.val_fraction=nan", "data.val_fraction"},
      {"train.epochs=0", "train.epochs: expected at least 1, got 0"},
      {"train.batch_size=0", "train.batch_size: expected at least 1"},
      {"train.threads=-1", "train.threads: expected at least 0"},
      {"train.seed=-1", "train.seed"},
      {"train.log_interval=0", "train.log_interval"},
      {"train.recovery_interval=-1", "train.recovery_interval: expected at least 0"},
      {"data.pad=-1", "data.pad"},
      {"data.workers=-1", "data.workers"},
      {"data.image_size=32", "data.image_size: only data.name = folder or list or imagenet-lt or"},
      {"data.image_size=-1", "data.image_size: expected at least 0"},
      {"data.channels=2", "data.channels: expected 1 or 3, got 2"},
      {"data.channels=1", "data.channels: only data.name = folder or list"},
      {"data.on_bad_image=ignore", "data.on_bad_image: expected one of error, skip"},
      {"data.on_bad_image=skip", "data.on_bad_image: only data.name = folder or list"},
      {"data.train_list=a.txt", "data.train_list: only data.name = list"},
      {"data.class_names=a.txt", "data.class_names: only data.name = list"},
      {"data.name=list", "data.train_list, data.test_list: data.name = list needs both"},
      {"data.noise_type=matrix", "data.noise_matrix: expected a file"},
      {"data.noise_matrix=a.txt", "data.noise_matrix: expected a file with data.noise_type = matrix"},
      {"data.mean=[0.5]", "data.mean, data.std: expected as many of each, got 1 and 0"},
      {"data.std=[0.5, 0.5]", "data.mean, data.std: expected as many of each, got 0 and 2"}};
  for (const auto& [assignment, message] : cases) expect_usage([&] { finished(assignment); }, {message});
  for (const char* lambda : {"1e-30", "-1e-30", "-inf"})
    EXPECT_NO_THROW(finished(concat_text("risk.lambda=", lambda))) << lambda;
  EXPECT_NO_THROW(finished("data.imb_factor=1"));
}

TEST(Config, FinishRefusesLossesAndRisksOutOfRange) {
  const std::pair<const char*, const char*> cases[] = {
      {"loss.smoothing=1", "loss.smoothing: expected a number in [0, 1), got 1"},
      {"loss.cb_beta=1", "loss.cb_beta: expected a number in [0, 1), got 1"},
      {"loss.drw_epoch=-1", "loss.drw_epoch: expected at least 0, got -1"},
      {"loss.focal_gamma=-0.1", "loss.focal_gamma: expected a number in [0, inf), got -0.1"},
      {"loss.focal_gamma=inf", "loss.focal_gamma"},
      {"loss.gce_q=0", "loss.gce_q: expected a number in (0, 1], got 0"},
      {"loss.gce_q=nan", "loss.gce_q"},
      {"loss.tgce_k=1", "loss.tgce_k: expected a number in (0, 1), got 1"},
      {"loss.sce_a=-1", "loss.sce_a"},
      {"loss.sce_b=nan", "loss.sce_b"},
      {"loss.js_pi=0", "loss.js_pi: expected a number in (0, 1), got 0"},
      {"loss.ldam_max_m=0", "loss.ldam_max_m: expected a number in (0, inf), got 0"},
      {"loss.ldam_scale=0", "loss.ldam_scale"},
      {"loss.tau=-1", "loss.tau"},
      {"loss.class_tau=-1", "loss.class_tau"},
      {"loss.ldr_margin=-1", "loss.ldr_margin"},
      {"loss.ldr_lambda=0", "loss.ldr_lambda"},
      {"loss.aldr_alpha=1", "loss.aldr_alpha: expected a number in (1, inf), got 1"},
      {"loss.aldr_alpha=nan", "loss.aldr_alpha"},
      {"loss.on_weighted=true", "loss.on_weighted: goes with focal"},
      {"loss.logit_norm=-1", "loss.logit_norm: expected a number in [0, inf), got -1"},
      {"loss.tgce_prune_epoch=-1", "loss.tgce_prune_epoch: expected at least 0, got -1"},
      {"loss.tgce_prune_epoch=3", "loss.tgce_prune_epoch: goes with loss.name = tgce, not with ce"},
      {"loss.tgce_prune_every=0", "loss.tgce_prune_every: expected at least 1, got 0"},
      {"risk.group_adjustment=-1", "risk.group_adjustment: expected a number in [0, inf), got -1"},
      {"risk.gamma=0", "risk.gamma: expected a number in (0, 1], got 0"},
      {"risk.alpha=0", "risk.alpha"},
      {"risk.additive=-1", "risk.additive"},
      {"risk.u_update=adam", "risk.u_update: expected one of average, scent; got 'adam'"},
      {"risk.log_step=inf", "risk.log_step"},
      {"risk.cvar_level=0", "risk.cvar_level: expected a number in (0, 1], got 0"},
      {"risk.rho=0", "risk.rho: expected a number in (0, inf), got 0"},
      {"risk.tau=-1", "risk.tau"},
      {"risk.eta=-1", "risk.eta"},
      {"risk.target_fraction=1", "risk.target_fraction: expected a number in [0, 1), got 1"},
      {"risk.sign=both", "risk.sign: expected one of positive, negative; got 'both'"},
      {"risk.window=0", "risk.window"},
      {"risk.solve_every=0", "risk.solve_every: expected at least 1, got 0"},
      {"risk.from_epoch=-1", "risk.from_epoch"}};
  for (const auto& [assignment, message] : cases) expect_usage([&] { finished(assignment); }, {message});
}

TEST(Config, FinishRefusesProtocolsOutOfRange) {
  const std::pair<const char*, const char*> cases[] = {
      {"data.imb_factor=0", "data.imb_factor: expected a number in (0, 1], got 0"},
      {"data.imb_factor=1.5", "data.imb_factor: expected a number in (0, 1], got 1.5"},
      {"data.noise_rate=1", "data.noise_rate: expected a number in [0, 1), got 1"},
      {"data.noise_rate=-0.1", "data.noise_rate: expected a number in [0, 1), got -0.1"},
      {"data.noise_rate=nan", "data.noise_rate"},
      {"data.rotation=181", "data.rotation: expected a number in [0, 180], got 181"},
      {"risk.alpha=-0.5", "risk.alpha: expected a number in (0, inf), got -0.5"},
      {"risk.gamma=1.5", "risk.gamma: expected a number in (0, 1], got 1.5"},
      {"risk.lambda=0", "risk.lambda: expected a number outside (-1e-30, 1e-30)"},
      {"model.dropout=1", "model.dropout: expected a number in [0, 1), got 1"},
      {"optim.lr=-1", "optim.lr: expected a number in [0, inf), got -1"},
      {"optim.momentum=1", "optim.momentum: expected a number in [0, 1), got 1"},
      {"optim.weight_decay=-1", "optim.weight_decay: expected a number in [0, inf), got -1"},
      {"optim.beta1=1", "optim.beta1"},
      {"optim.beta2=-1", "optim.beta2"},
      {"optim.eps=-1", "optim.eps"},
      {"optim.max_norm=nan", "optim.max_norm"},
      {"schedule.kind=poly", "schedule.kind: expected one of constant, multistep, step, cosine; got 'poly'"},
      {"schedule.gamma=0", "schedule.gamma: expected a number in (0, inf), got 0"},
      {"schedule.step_size=0", "schedule.step_size: expected at least 1, got 0"},
      {"schedule.min_factor=-1", "schedule.min_factor"},
      {"schedule.warmup=-1", "schedule.warmup: expected at least 0, got -1"},
      {"schedule.milestones=[-1]", "schedule.milestones: expected at least 0, got -1"},
      {"schedule.milestones=[80, 40]", "schedule.milestones: expected epochs in growing order, got [80, 40]"},
      {"schedule.factors=[0.1]", "schedule.factors: expected one for each of the 0 milestones, got 1"}};
  for (const auto& [assignment, message] : cases) expect_usage([&] { finished(assignment); }, {message});
}

TEST(Config, FinishRefusesWhatDoesNotGoTogether) {
  const auto refused = [](const std::vector<std::string>& assignments, const std::string& message) {
    Config config;
    for (const auto& a : assignments) set_key(config, a, "--set");
    expect_usage([&] { finish(config); }, {message});
  };
  refused({"loss.name=focal", "loss.smoothing=0.1"}, "loss.smoothing: label smoothing is defined for");
  refused({"loss.name=ldr-kl", "loss.class_tau=0.1"}, "loss.class_tau");
  refused({"loss.name=aldr-kl", "loss.class_tau=0.1"}, "not of loss.name = aldr-kl");
  refused({"loss.name=aldr-kl", "loss.smoothing=0.1"}, "loss.smoothing");
  refused({"risk.name=tilted", "risk.gamma=0.5"}, "risk.gamma: tilted is kl with gamma = 1, got 0.5");
  refused({"risk.name=kl", "risk.u_update=scent", "risk.lambda=-1"}, "risk.lambda: expected a positive");
  refused({"risk.name=kl", "risk.u_update=scent", "risk.u_init=zero"}, "risk.u_init: expected first_batch");
  refused({"risk.name=kl_ball", "risk.window=100"}, "risk.window: expected at least train.batch_size = 128, got 100");
  refused({"schedule.milestones=[4]", "schedule.factors=[0]"},
          "schedule.factors: expected a number in (0, inf), got 0");
  refused({"optim.nesterov=true", "optim.momentum=0"}, "optim.nesterov: expected optim.momentum above 0");
  const Config tilted = finished("risk.name=tilted");
  EXPECT_EQ(tilted.risk.name, "kl");
  EXPECT_EQ(tilted.risk.gamma, 1);
}

TEST(RiskWarnings, KnowWhichSignContradictsTheData) {
  const auto warns = [](const std::string& data, const std::string& noise, double rate, double lambda) {
    Config c;
    c.data.name = data;
    c.data.noise_type = noise;
    c.data.noise_rate = rate;
    c.risk.name = "kl";
    c.risk.lambda = lambda;
    return !apps::risk_warnings(c).empty();
  };
  EXPECT_TRUE(warns("cifar10", "symmetric", 0.4, 5));
  EXPECT_TRUE(warns("cifar10", "matrix", 0, 5));
  EXPECT_TRUE(warns("clothing1m", "none", 0, 5));
  EXPECT_FALSE(warns("clothing1m", "none", 0, -5));
  EXPECT_FALSE(warns("cifar10", "symmetric", 0, 5));
  for (const char* name : {"imagenet-lt", "places-lt", "inaturalist18", "iwildcam"}) {
    EXPECT_TRUE(warns(name, "none", 0, -5)) << name;
    EXPECT_FALSE(warns(name, "none", 0, 5)) << name;
    EXPECT_FALSE(warns(name, "matrix", 0, -5)) << name;
  }
}

TEST(Config, AnEpochThatHasDivergedIsSaidOnce) {
  apps::Config c;
  const auto text = [&](double loss, double before) { return apps::divergence_warning(c, loss, before, 10); };
  EXPECT_EQ(text(2.3, 0), "");
  EXPECT_EQ(text(2302, 0), "");  // 1000 log 10 is 2302.6
  EXPECT_EQ(text(1e24, 1e20), "");
  EXPECT_EQ(text(1e24, 2.3),
            "training has diverged: the mean loss of this epoch is 1e+24, against 2.30 for guessing; "
            "lower optim.lr");
  c.risk.name = "kl";
  c.risk.lambda = std::numeric_limits<double>::infinity();
  EXPECT_EQ(text(2303, 0).find("risk"), std::string::npos);
  c.risk.lambda = -2;
  c.risk.gamma = 0.1;
  EXPECT_NE(text(2303, 0).find("raise |risk.lambda| (-2) or risk.gamma (0.1)"), std::string::npos) << text(2303, 0);
}

TEST(Config, DifferencesAreListedOneByOne) {
  Config a, b;
  EXPECT_TRUE(differences(a, b, {}).empty());
  b.optim.lr = 0.25;
  b.model.name = "resnet8";
  b.schedule.milestones = {3, 4};
  b.train.epochs = 7;
  EXPECT_EQ(listed(differences(a, b, {"train.epochs"})),
            "\n  model.name: 'resnet32' -> 'resnet8'\n  optim.lr: 0.1 -> 0.25\n  schedule.milestones: [] -> [3, 4]");
  EXPECT_EQ(differences(a, b, {}).size(), 4u);
}

TEST(Config, EveryRecipeLoads) {
  const auto names = apps::recipe_names();
  for (const char* expected : {"cifar10-lt", "fashion-mnist-lt"})
    EXPECT_NE(std::find(names.begin(), names.end(), expected), names.end()) << expected;
  for (const std::string& name : names) {
    Config config;
    EXPECT_NO_THROW({
      load_toml(config, apps::recipe_text(name), "recipe " + name);
      if (config.model.freeze != "none") config.model.pretrained = "first.safetensors";  // a second stage
      finish(config);
    }) << name;
    EXPECT_FALSE(differences(Config(), config, {}).empty()) << name;
  }
}

TEST(Config, RecipesMayBeFiles) {
  const TempDir dir;
  std::ofstream(dir / "mine.toml") << "[optim]\nlr = 0.7\n";
  Config config;
  load_toml(config, apps::recipe_text((dir / "mine.toml").string()), "mine");
  EXPECT_EQ(config.optim.lr, 0.7);
  expect_usage([] { apps::recipe_text("cifar10-tl"); }, {"no recipe or file 'cifar10-tl'", "'cifar10-lt'?"});
  expect_usage([&] { apps::recipe_text(dir.path().string()); }, {"no recipe or file"});
}

TEST(Config, NearestCountsEdits) {
  EXPECT_EQ(apps::nearest("optm.lr", {"optim.name", "optim.lr", "risk.lambda"}), "optim.lr");
  EXPECT_EQ(apps::nearest("", {"abc", "a"}), "a");
  EXPECT_EQ(apps::nearest("kitten", {"mitten", "sitting"}), "mitten");
}

}  // namespace
}  // namespace fulcrum::testing
