#include "apps/settings_flags.h"

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <thread>

#include <CLI/CLI.hpp>

#include <fulcrum/core/backends.h>
#include <fulcrum/core/cuda/runtime.h>
#include <fulcrum/core/cuda_options.h>

#include "apps/commands.h"
#include "apps/flag_checks.h"
#include "apps/no_effect.h"
#include "apps/ranges.h"
#include "apps/risks.h"
#include "apps/world.h"

namespace fulcrum::apps {

namespace {

struct Flag {
  const char* names;  // CLI11 notation; aliases after commas
  const char* key;
};

// The spellings of timm and torchvision, with those of ABSGD's own code as aliases.
constexpr Flag kFlags[] = {
    {"--dataset", "data.name"},
    {"--data-dir", "data.dir"},
    {"--imb-type", "data.imb_type"},
    {"--imb-factor", "data.imb_factor"},
    {"--noise-type", "data.noise_type"},
    {"--noise-rate", "data.noise_rate"},
    {"--val-fraction", "data.val_fraction"},
    {"-j,--workers", "data.workers"},
    {"--model", "model.name"},
    {"--pretrained", "model.pretrained"},
    {"--loss", "loss.name"},
    {"--drw-epoch", "loss.drw_epoch"},
    {"--risk", "risk.name"},
    {"--lambda,--lamda", "risk.lambda"},
    {"--gamma,--drogamma", "risk.gamma"},
    {"--alpha,--abAlpha", "risk.alpha"},
    {"--opt", "optim.name"},
    {"--lr", "optim.lr"},
    {"--momentum", "optim.momentum"},
    {"--weight-decay,--wd", "optim.weight_decay"},
    {"--epochs", "train.epochs"},
    {"-b,--batch-size", "train.batch_size"},
    {"--accumulate,--grad-accum-steps", "train.accumulate"},
    {"--model-ema-decay", "train.ema_decay"},
    {"--eval-metric", "train.eval_metric"},
    {"--patience", "train.patience"},
    {"--amp", "train.amp"},
    {"--device", "train.device"},
    {"--threads", "train.threads"},
    {"--seed", "train.seed"},
    {"-o,--output", "train.output"},
    {"--log-interval", "train.log_interval"},
    {"--recovery-interval", "train.recovery_interval"},
};

struct Switch {
  const char* name;
  const char* key;
  const char* value;
};

constexpr Switch kSwitches[] = {
    {"--no-graph", "train.graph", "false"},
    {"--tf32", "train.tf32", "true"},
    {"--cudnn-benchmark", "train.cudnn_benchmark", "true"},
    {"--sync-bn", "train.sync_bn", "true"},
    {"--recompute", "train.recompute", "true"},
};

constexpr std::pair<const char*, const char*> kEnvironment[] = {{"FULCRUM_DATA_DIR", "data.dir"},
                                                                {"FULCRUM_OUTPUT", "train.output"},
                                                                {"FULCRUM_DEVICE", "train.device"},
                                                                {"FULCRUM_THREADS", "train.threads"}};

std::string help_of(const std::string& key) {
  Config config;
  for (const Key& k : keys_of(config))
    if (k.name == key) return std::string(k.help) + " [" + key + "]";
  fail("[flags] no key ", key);
}

std::string first_name(const std::string& names) {
  const std::string last = names.substr(names.find("--"));
  return last.substr(0, last.find(','));
}

}  // namespace

void SettingsFlags::add_to(CLI::App& app, const KeyFilter& wanted) {
  app.add_option("--recipe", recipe_, "a built-in recipe, or a TOML file")->check(not_empty());
  add_flags(
      app, wanted ? wanted : [](const std::string&) { return true; });
}

void SettingsFlags::add_some_to(CLI::App& app, const std::vector<std::string>& keys) {
  add_flags(app, [&](const std::string& key) { return std::ranges::find(keys, key) != keys.end(); });
}

void SettingsFlags::add_flags(CLI::App& app, const KeyFilter& wanted) {
  for (const Flag& f : kFlags) {
    const std::string name = first_name(f.names), key = f.key;
    if (!wanted(key)) continue;
    app.add_option_function<std::string>(
           f.names,
           [this, name, key](const std::string& value) {
             assignments_.push_back({name, key + "=" + value});
           },
           help_of(key))
        ->take_last()
        ->check(not_empty())
        ->type_name("VALUE")
        ->group("Settings [" + key.substr(0, key.find('.')) + "]");
  }
  for (const Switch& s : kSwitches) {
    const std::string name = s.name, key = s.key, text = key + "=" + s.value;
    if (!wanted(key)) continue;
    app.add_flag_callback(
           name,
           [this, name, text] {
             assignments_.push_back({name, text});
           },
           help_of(key) + "; sets it to " + s.value)
        ->group("Settings [" + key.substr(0, key.find('.')) + "]");
  }
  app.add_option_function<std::vector<std::string>>(
         "--set",
         [this](const std::vector<std::string>& list) {
           for (const auto& text : list) assignments_.push_back({"--set", text});
         },
         "any setting, also those without a flag: section.key=value")
      ->type_name("VALUE")
      ->group("Settings");
}

std::string SettingsFlags::Assignment::key() const { return text.substr(0, text.find('=')); }

std::string SettingsFlags::Assignment::words() const {
  if (flag == "--set") return "--set " + text;
  const bool is_switch = std::ranges::any_of(kSwitches, [&](const Switch& s) { return flag == s.name; });
  return is_switch ? flag : flag + " " + text.substr(text.find('=') + 1);
}

bool SettingsFlags::has(const std::string& key) const {
  return std::ranges::any_of(assignments_, [&](const Assignment& a) { return a.text.starts_with(key + "="); });
}

void SettingsFlags::refuse_without(const KeyFilter& acts, const std::string& where) const {
  for (const Assignment& a : assignments_)
    if (!acts(a.key())) usage(a.words(), ": ", a.key(), " has no effect ", where);
}

std::vector<std::string> SettingsFlags::without_effect(const Config& resolved) const {
  std::vector<std::string> found;
  for (const Assignment& a : assignments_) {
    const std::string key = a.key();
    if (const std::string text = no_effect(key, resolved); !text.empty()) found.push_back(text);
  }
  std::string rule;  // as given last; absgd and its like have a risk of their own
  for (const Assignment& a : assignments_)
    if (a.text.starts_with("optim.name=")) rule = a.text.substr(a.text.find('=') + 1);
  const bool is_plain = !rule.empty() && rule.find("ab") == std::string::npos;
  if (is_plain && !has("risk.name") && resolved.risk.name != "mean")
    found.push_back("optim.name does not change the risk, " + resolved.risk.name +
                    "; --risk mean weighs all samples alike");
  const bool asks_for_kl = resolved.risk.name == "kl" && (has("optim.name") || has("risk.name"));
  if (asks_for_kl && std::isinf(resolved.risk.lambda) && !has("risk.lambda"))
    found.push_back("risk.lambda = inf weighs all samples alike, as SGD does; give --lambda");
  return found;
}

std::vector<std::string> SettingsFlags::words(const std::vector<std::string>& without) const {
  std::vector<std::string> words;
  if (!recipe_.empty()) words = {"--recipe", recipe_};
  for (const Assignment& a : assignments_)
    if (std::ranges::find(without, a.key()) == without.end()) words.insert(words.end(), {"--set", a.text});
  return words;
}

// The same spelling twice counts as the last, as in a script that appends to its flags. Of two spellings the order is
// lost: the parser hands on every flag before every --set.
void SettingsFlags::refuse_two_values() const {
  for (size_t i = 0; i < assignments_.size(); i++)
    for (size_t k = 0; k < i; k++) {
      const Assignment &a = assignments_[k], &b = assignments_[i];
      if (a.flag == b.flag || a.key() != b.key()) continue;
      Config first, second;
      set_key(first, a.text, a.flag);
      set_key(second, b.text, b.flag);
      if (!differences(first, second, {}).empty()) usage(a.words(), " and ", b.words(), " set the same key: give one");
    }
}

void read_environment(Config& config) {
  for (const auto& [variable, key] : kEnvironment)
    if (const char* value = std::getenv(variable); value && *value)
      set_key(config, std::string(key) + "=" + value, variable);
}

Config SettingsFlags::resolve(const Config& base) const {
  Config config = base;
  if (!recipe_.empty()) load_toml(config, recipe_text(recipe_), "recipe " + recipe_);
  read_environment(config);
  refuse_two_values();
  for (const Assignment& a : assignments_) set_key(config, a.text, a.flag);
  // finish() cannot tell a mean or a γ that was given from the default.
  if (config.optim.name.starts_with("ab") && has("risk.name") && config.risk.name == "mean")
    refuse_risk_beside(config.optim.name, config.risk.name);
  if (config.risk.name == "tilted" && has("risk.gamma")) check_gamma_of_tilted(config.risk.gamma);
  else if (config.risk.name == "tilted" && has("risk.name")) config.risk.gamma = 1;  // a recipe's γ is for its own risk
  finish(config);
  return config;
}

int use_threads(const Config& config) {
  if (config.train.threads > 0) {
    omp_set_num_threads(static_cast<int>(config.train.threads));
  } else if (const int sharers = world().local_size(); sharers > 1 && !std::getenv("OMP_NUM_THREADS")) {
    // mpirun may have bound each process to cores of its own, or none of them to any.
    const auto cores = static_cast<int>(std::thread::hardware_concurrency());
    omp_set_num_threads(std::max(1, std::min(omp_get_num_procs(), cores / sharers)));
  }
  return omp_get_max_threads();
}

void use_device(const TrainSettings& settings) {
  const std::string& name = settings.device;
  Device device;
  try {
    device = Device(name);
  } catch (const Error& e) {
    throw UsageError(std::string("train.device: ") + e.what());
  }
  if (device.is_cpu()) return;
  if (!cuda::kBuilt)
    throw UsageError("train.device: '" + name +
                     "' needs a build with the CUDA back-end; this one has the CPU only. Configure "
                     "with -DFULCRUM_CUDA=ON");
  cuda::use_device(device.index);
  set_tf32(settings.tf32);
  set_cudnn_benchmark(settings.cudnn_benchmark);
}

std::string backend_text(Device device, int threads) {
  const std::string on_cpu = concat_text(threads, threads == 1 ? " thread" : " threads");
  for (const Backend& b : backends())
    if (b.device == device) return b.description + ", " + on_cpu;
  fail("[backend] no device ", device);
}

}  // namespace fulcrum::apps
