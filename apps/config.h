// The settings of a run: typed structs, one table that names every key, TOML in and out.
//
//   Config config;
//   load_toml(config, recipe_text("cifar10-lt"), "recipe cifar10-lt");
//   set_key(config, "risk.lambda=5", "--set");
//   std::string complete = to_toml(config);          // re-runnable
//
// Unknown keys and wrong types throw UsageError, which names their place and the nearest key.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <fulcrum/core/check.h>

namespace fulcrum::apps {

/// The user asked for something impossible; exit code 2.
class UsageError : public Error {
 public:
  using Error::Error;
};

struct DataSettings {
  std::string name = "fashion-mnist";
  std::string dir;
  std::string train_list, val_list, test_list, class_names;
  std::string train_split = "noisy_train";
  std::vector<std::string> eval_splits = {};
  bool follow_links = false;
  int64_t image_size = 0;
  int64_t resize_size = 0;
  std::string crop_mode = "center";
  bool exif_orientation = false;
  bool fast_decode = false;
  int64_t cache_mb = 256;
  bool random_resized_crop = false;
  std::vector<double> scale = {0.08, 1};
  std::vector<double> ratio = {0.75, 4.0 / 3};
  bool random_crop = false;
  int64_t channels = 3;
  std::string on_bad_image = "error";
  std::vector<double> mean, stddev;
  std::string imb_type = "none";
  double imb_factor = 1;
  int64_t n_max = 0;
  std::string noise_type = "none";
  double noise_rate = 0;
  std::string noise_matrix;
  double val_fraction = 0;
  int64_t subset_seed = 0;
  std::string sampler = "shuffle";
  int64_t pad = 0;
  bool flip = false;
  double rotation = 0;
  double erase = 0;
  std::vector<double> erase_scale = {0.02, 0.33}, erase_ratio = {0.3, 3.3};
  std::vector<double> color_jitter = {};
  int64_t randaugment = 0;
  int64_t randaugment_magnitude = 9;
  double mixup = 0;
  double cutmix = 0;
  double mix_prob = 1;
  double mix_switch_prob = 0.5;
  int64_t workers = 1;
};

struct ModelSettings {
  std::string name = "resnet32";
  std::string stem;
  std::string pretrained;
  bool reset_head = false;
  std::string freeze = "none";
  double dropout = 0;
};

struct LossSettings {
  std::string name = "ce";
  double smoothing = 0;
  std::string class_weights = "none";
  std::vector<double> given_class_weights = {};
  double cb_beta = 0.9999;
  int64_t cb_max_count = 0;
  int64_t drw_epoch = 0;
  bool on_weighted = false;
  double focal_gamma = 2;
  double gce_q = 0.7;
  double tgce_k = 0.5;
  double sce_a = 0.1;
  double sce_b = 1;
  double js_pi = 0.5;
  double ldam_max_m = 0.5;
  double ldam_scale = 30;
  double tau = 1;
  double class_tau = 0;
  double logit_norm = 0;
  int64_t tgce_prune_epoch = 0;
  int64_t tgce_prune_every = 10;
  double ldr_margin = 2;
  double ldr_lambda = 1;
  double aldr_alpha = 2;
};

struct RiskSettings {
  std::string name = "mean";
  std::string normalize = "weights";
  double lambda = std::numeric_limits<double>::infinity();
  double gamma = 0.9;
  double alpha = 1;
  double additive = 0;
  std::string u_init = "first_batch";
  bool keep_u = false;
  std::string u_update = "average";
  double log_step = 10;
  bool anneal_gamma = false;
  double cvar_level = 0.5;
  double rho = 0.2;
  double tau = 1;
  double eta = 0.01;
  double group_adjustment = 0;
  double target_fraction = 0;
  std::string sign = "positive";
  int64_t window = 4096;
  int64_t solve_every = 10;
  int64_t from_epoch = 0;
};

struct OptimSettings {
  std::string name = "sgd";
  double lr = 0.1;
  std::vector<std::string> lr_of = {};
  double momentum = 0.9;
  bool nesterov = false;
  double weight_decay = 2e-4;
  std::vector<std::string> weight_decay_of = {};
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double max_norm = 0;
};

struct ScheduleSettings {
  std::string kind = "multistep";
  std::vector<int64_t> milestones;
  double gamma = 0.1;
  std::vector<double> factors = {};
  int64_t step_size = 30;
  double min_factor = 0;
  int64_t warmup = 0;
};

struct TrainSettings {
  int64_t epochs = 200;
  int64_t batch_size = 128;
  int64_t seed = 0;
  std::string amp = "off";
  std::string device = "cpu";
  bool graph = true;
  bool tf32 = false;
  bool cudnn_benchmark = false;
  int64_t threads = 0;
  std::string output;
  int64_t eval_every = 1;
  int64_t log_interval = 100;
  int64_t recovery_interval = 0;
  int64_t accumulate = 1;
  double ema_decay = 0;
  std::string eval_metric = "top1";
  int64_t patience = 0;
  int64_t limit_batches = 0;
  bool sync_bn = false;
  bool recompute = false;
};

struct Config {
  DataSettings data;
  ModelSettings model;
  LossSettings loss;
  RiskSettings risk;
  OptimSettings optim;
  ScheduleSettings schedule;
  TrainSettings train;
};

using Field = std::variant<bool*, int64_t*, double*, std::string*, std::vector<int64_t>*, std::vector<double>*,
                           std::vector<std::string>*>;

struct Key {
  const char* name;  // "section.key"
  Field field;
  const char* help;
};

/// Every key of `config`, in the order of the sections, pointing into it.
std::vector<Key> keys_of(Config& config);

/// Sets keys from TOML text; `source` names it in errors.
void load_toml(Config& config, std::string_view text, const std::string& source);
/// Sets one key from "section.key=value"; the value is TOML, but strings may be unquoted.
void set_key(Config& config, std::string_view assignment, const std::string& source);
/// The complete configuration.
std::string to_toml(const Config& config);
/// Expands shorthands (optim.name = absgd). Throws UsageError for values that are out of range or do not go together.
void finish(Config& config);
/// A key in which two configurations differ, with both values as in TOML.
struct Difference {
  std::string key, from, to;
  std::string text() const { return key + ": " + from + " -> " + to; }
  bool operator==(const Difference&) const = default;
};
/// In the order of the keys, without those in `ignored`.
std::vector<Difference> differences(const Config& from, const Config& to, const std::vector<std::string>& ignored);
/// The texts, each on a line of its own, indented, after a line break.
std::string listed(const std::vector<Difference>& differences);

/// The text of a settings file. Throws UsageError, which names the flag, if it cannot be read.
std::string read_settings_file(const std::string& flag, const std::string& path);

/// The TOML of a built-in recipe, or of a file when `name` is a path that exists.
std::string recipe_text(const std::string& name);
std::vector<std::string> recipe_names();

/// The candidate with the smallest edit distance to `word`.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace fulcrum::apps
