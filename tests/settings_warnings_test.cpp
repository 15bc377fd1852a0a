// Settings that are allowed but change nothing, and what is said of them.
#include <algorithm>
#include <set>

#include "apps/config.h"
#include "apps/no_effect.h"
#include "apps/stored_model.h"
#include "apps/warnings.h"

#include "testing.h"

namespace fulcrum::testing {
namespace {

using apps::Config;
using Words = std::vector<std::string>;

Config with(const Words& assignments) {
  Config config;
  for (const std::string& a : assignments) set_key(config, a, "--set");
  finish(config);
  return config;
}

Words warnings(const Words& assignments) { return apps::warnings_of(with(assignments), {10, 10}); }

TEST(SettingsWarnings, AKindWithoutItsRateOrFactor) {
  const std::string noise = "data.noise_type = symmetric changes no label with data.noise_rate = 0; give the rate";
  const std::string tail =
      "data.imb_type = exp leaves all classes as large as the largest with data.imb_factor = 1; give the factor";
  EXPECT_EQ(warnings({"data.noise_type=symmetric"}), Words{noise});
  EXPECT_EQ(warnings({"data.imb_type=exp"}), Words{tail});
  EXPECT_EQ(warnings({"data.noise_type=symmetric", "data.noise_rate=0.1", "data.imb_type=exp", "data.imb_factor=0.5"}),
            Words{});
  // A matrix has rates of its own.
  EXPECT_EQ(warnings({"data.noise_type=matrix", "data.noise_matrix=m.txt"}), Words{});
}

TEST(SettingsWarnings, WarmUpToTheEnd) {
  const std::string text = "schedule.warmup = 5: the learning rate only rises in the 5 epochs of this run";
  EXPECT_EQ(warnings({"schedule.warmup=5", "train.epochs=5"}), Words{text});
  EXPECT_EQ(warnings({"schedule.warmup=5", "train.epochs=6"}), Words{});
  EXPECT_EQ(warnings({"train.epochs=1"}), Words{});
}

TEST(SettingsWarnings, SettingsOfAnotherRuleOrSchedule) {
  struct Case {
    const char* key;
    Words settings;
    const char* text;  // "": it has an effect
  };
  const Case cases[] = {
      {"optim.momentum", {"optim.name=adam"}, "optim.momentum has no effect with optim.name = adam"},
      {"optim.nesterov", {"optim.name=abadamw"}, "optim.nesterov has no effect with optim.name = adamw"},
      {"optim.momentum", {"optim.name=absgd"}, ""},
      {"optim.beta1", {}, "optim.beta1 has no effect with optim.name = sgd"},
      {"optim.beta2", {"optim.name=absgd"}, "optim.beta2 has no effect with optim.name = sgd"},
      {"optim.eps", {}, "optim.eps has no effect with optim.name = sgd"},
      {"optim.eps", {"optim.name=adam"}, ""},
      {"optim.weight_decay", {"optim.name=adam"}, ""},
      {"schedule.milestones",
       {"schedule.kind=cosine", "schedule.milestones=[3]"},
       "schedule.milestones has no effect with schedule.kind = cosine"},
      {"schedule.gamma", {"schedule.kind=cosine"}, "schedule.gamma has no effect with schedule.kind = cosine"},
      {"schedule.gamma", {}, "schedule.gamma has no effect with schedule.milestones = []"},
      {"schedule.gamma",
       {"schedule.milestones=[3]", "schedule.factors=[0.5]"},
       "schedule.gamma has no effect beside schedule.factors"},
      {"schedule.gamma", {"schedule.milestones=[3]"}, ""},
      {"schedule.gamma", {"schedule.kind=step"}, ""},
      {"schedule.step_size", {"schedule.kind=cosine"}, "schedule.step_size has no effect with schedule.kind = cosine"},
      {"schedule.min_factor", {"schedule.kind=step"}, "schedule.min_factor has no effect with schedule.kind = step"},
      {"schedule.min_factor", {"schedule.kind=cosine"}, ""},
      {"loss.drw_epoch", {}, "loss.drw_epoch has no effect with loss.class_weights = none"},
      {"loss.drw_epoch", {"loss.class_weights=balanced"}, ""}};
  for (const Case& c : cases) EXPECT_EQ(apps::no_effect(c.key, with(c.settings)), c.text) << c.key;
}

// A key that is new has to be sorted here: eval, predict and export take those that act, and refuse the others.
TEST(SettingsWarnings, KeysThatActBesideATrainedModel) {
  Config config;
  std::set<std::string> acting;
  for (const apps::Key& key : keys_of(config))
    if (apps::acts_on_stored_model(key.name)) acting.insert(key.name);
  EXPECT_EQ(acting, (std::set<std::string>{"data.name",
                                           "data.dir",
                                           "data.train_list",
                                           "data.val_list",
                                           "data.test_list",
                                           "data.class_names",
                                           "data.train_split",
                                           "data.eval_splits",
                                           "data.follow_links",
                                           "data.image_size",
                                           "data.resize_size",
                                           "data.crop_mode",
                                           "data.exif_orientation",
                                           "data.fast_decode",
                                           "data.cache_mb",
                                           "data.channels",
                                           "data.on_bad_image",
                                           "data.mean",
                                           "data.std",
                                           "data.imb_type",
                                           "data.imb_factor",
                                           "data.n_max",
                                           "data.noise_type",
                                           "data.noise_rate",
                                           "data.noise_matrix",
                                           "data.val_fraction",
                                           "data.subset_seed",
                                           "data.workers",
                                           "model.name",
                                           "model.stem",
                                           "loss.name",
                                           "loss.ldam_scale",
                                           "train.amp",
                                           "train.device",
                                           "train.threads",
                                           "train.tf32",
                                           "train.cudnn_benchmark"}));
}

TEST(SettingsWarnings, StatisticsOfPixelsUpTo255AreRefused) {
  const auto refused = [](const Words& settings, const std::string& text) { EXPECT_ERROR(with(settings), text); };
  const std::string hint = "; statistics of pixels from 0 to 255 are to be divided by 255";
  refused({"data.mean=[128]", "data.std=[0.5]"}, "data.mean: expected numbers in [0, 1], got 128" + hint);
  refused({"data.mean=[-0.1]", "data.std=[0.5]"}, "data.mean: expected numbers in [0, 1], got -0.1");
  refused({"data.mean=[nan]", "data.std=[0.5]"}, "data.mean: expected numbers in [0, 1], got nan");
  refused({"data.mean=[0.5]", "data.std=[60]"}, "data.std: expected numbers in (0, 1], got 60" + hint);
  refused({"data.mean=[0.5]", "data.std=[0]"}, "data.std: expected numbers in (0, 1], got 0");
  EXPECT_NO_THROW(with({"data.mean=[0]", "data.std=[1]"}));
}

}  // namespace
}  // namespace fulcrum::testing
