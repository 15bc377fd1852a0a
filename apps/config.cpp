#include "apps/config.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <sstream>

#include <toml++/toml.h>

#include "apps/recipes.h"

namespace fulcrum::apps {

std::vector<Key> keys_of(Config& c) {
  return {
      {"data.name", &c.data.name, "fashion-mnist, cifar10 or cifar100"},
      {"data.dir", &c.data.dir, "folder of the data set"},
      {"data.imb_type", &c.data.imb_type, "none, exp or step"},
      {"data.imb_factor", &c.data.imb_factor, "smallest class / largest class"},
      {"data.n_max", &c.data.n_max, "samples of the largest class; 0: all"},
      {"data.noise_type", &c.data.noise_type, "none, symmetric or asymmetric"},
      {"data.noise_rate", &c.data.noise_rate, "share of wrong labels"},
      {"data.val_fraction", &c.data.val_fraction, "stratified part of train held out for selection"},
      {"data.subset_seed", &c.data.subset_seed, "seed of the imbalance, noise and split draws"},
      {"data.sampler", &c.data.sampler, "shuffle or class-balanced"},
      {"data.pad", &c.data.pad, "zero pixels around before the random crop"},
      {"data.flip", &c.data.flip, "random left-right flip"},
      {"data.workers", &c.data.workers, "prefetch threads; 0: none"},
      {"model.name", &c.model.name, "resnet8 to 110, of CIFAR; resnet10 to 152 and resnext50_32x4d: fulcrum info lists them"},
      {"model.stem", &c.model.stem, "imagenet or cifar (3x3 convolution, no pooling); empty: the model's own"},
      {"model.pretrained", &c.model.pretrained, "weights to start from, a safetensors file"},
      {"model.dropout", &c.model.dropout, "before the classifier"},
      {"loss.name", &c.loss.name, "ce"},
      {"loss.smoothing", &c.loss.smoothing, "label smoothing"},
      {"loss.class_weights", &c.loss.class_weights, "none or balanced: (1-beta)/(1-beta^n), sum C"},
      {"loss.cb_beta", &c.loss.cb_beta, "beta of the class-balanced weights"},
      {"loss.drw_epoch", &c.loss.drw_epoch, "epoch from which class weights apply (deferred)"},
      {"risk.name", &c.risk.name, "mean or kl"},
      {"risk.normalize", &c.risk.normalize, "mean with class weights: weights (sum w l / sum w) or batch"},
      {"risk.lambda", &c.risk.lambda, "lambda of ABSGD; inf: plain"},
      {"risk.gamma", &c.risk.gamma, "step of the moving average u"},
      {"risk.alpha", &c.risk.alpha, "scale of the batch mean that enters u"},
      {"risk.additive", &c.risk.additive, "adds additive/B to every weight"},
      {"risk.u_init", &c.risk.u_init, "first_batch or zero"},
      {"risk.keep_u", &c.risk.keep_u, "do not restart u when lambda changes"},
      {"risk.from_epoch", &c.risk.from_epoch, "lambda is inf before this epoch"},
      {"optim.name", &c.optim.name, "sgd, absgd, adam, adamw, abadam or abadamw"},
      {"optim.lr", &c.optim.lr, "learning rate"},
      {"optim.momentum", &c.optim.momentum, "of SGD"},
      {"optim.nesterov", &c.optim.nesterov, "Nesterov momentum"},
      {"optim.weight_decay", &c.optim.weight_decay, "on every parameter"},
      {"optim.beta1", &c.optim.beta1, "of Adam"},
      {"optim.beta2", &c.optim.beta2, "of Adam"},
      {"optim.eps", &c.optim.eps, "of Adam"},
      {"optim.max_norm", &c.optim.max_norm, "gradient clipping by norm; 0: none"},
      {"schedule.kind", &c.schedule.kind, "constant, multistep, step or cosine"},
      {"schedule.milestones", &c.schedule.milestones, "multistep: epochs at which lr is multiplied"},
      {"schedule.gamma", &c.schedule.gamma, "multistep, step: the multiplier"},
      {"schedule.step_size", &c.schedule.step_size, "step: epochs between multiplications"},
      {"schedule.min_factor", &c.schedule.min_factor, "cosine: lr factor at the end"},
      {"schedule.warmup", &c.schedule.warmup, "epochs of linear warm-up"},
      {"train.epochs", &c.train.epochs, "epochs"},
      {"train.batch_size", &c.train.batch_size, "images a step"},
      {"train.seed", &c.train.seed, "of weights, order, augmentation, dropout"},
      {"train.amp", &c.train.amp, "off or bf16"},
      {"train.device", &c.train.device, "cpu or cuda[:N]"},
      {"train.threads", &c.train.threads, "CPU threads; 0: all cores"},
      {"train.output", &c.train.output, "run directory"},
      {"train.eval_every", &c.train.eval_every, "epochs between evaluations; the last is always evaluated"},
      {"train.log_interval", &c.train.log_interval, "steps between plain progress lines"},
      {"train.accumulate", &c.train.accumulate, "batches whose gradients make one update"},
      {"train.ema_decay", &c.train.ema_decay, "moving average of the weights, evaluated in their place; 0: none"},
      {"train.eval_metric", &c.train.eval_metric, "chooses the best epoch: top1, balanced, macro_f1 or loss"},
      {"train.patience", &c.train.patience, "stop after so many epochs without a better one; 0: never"},
      {"train.limit_batches", &c.train.limit_batches, "batches an epoch, in training and evaluation; 0: all"},
  };
}

std::string nearest(std::string_view word, const std::vector<std::string>& candidates) {
  const auto distance = [&](std::string_view other) {
    std::vector<size_t> row(other.size() + 1);
    std::iota(row.begin(), row.end(), size_t{0});
    for (size_t i = 1; i <= word.size(); i++) {
      size_t diagonal = std::exchange(row[0], i);
      for (size_t j = 1; j <= other.size(); j++) {
        const size_t substitute = diagonal + (word[i - 1] != other[j - 1]);
        diagonal = row[j];
        row[j] = std::min({substitute, row[j] + 1, row[j - 1] + 1});
      }
    }
    return row.back();
  };
  return *std::ranges::min_element(candidates, {}, distance);
}

namespace {

template <class... Parts>
[[noreturn]] void usage(const Parts&... parts) {
  throw UsageError(concat_text(parts...));
}

const Key& find_key(const std::vector<Key>& keys, const std::string& name, const std::string& source) {
  std::vector<std::string> names;
  for (const Key& key : keys) {
    if (key.name == name) return key;
    names.push_back(key.name);
  }
  usage(source, ": unknown key '", name, "'; did you mean '", nearest(name, names), "'?");
}

// Stores a TOML value, or says what the key takes.
struct Assign {
  const toml::node& node;
  std::string where;

  void operator()(bool* field) const { *field = need(node.value_exact<bool>(), "true or false"); }
  void operator()(int64_t* field) const { *field = need(node.value_exact<int64_t>(), "an integer"); }
  void operator()(double* field) const { *field = need(node.value<double>(), "a number"); }
  void operator()(std::string* field) const {
    *field = need(node.value_exact<std::string>(), "a string");
  }
  void operator()(std::vector<int64_t>* field) const {
    const toml::array* array = node.as_array();
    if (!array) usage(where, " takes a list of integers");
    field->clear();
    for (const toml::node& element : *array)
      field->push_back(need(element.value_exact<int64_t>(), "a list of integers"));
  }

  template <class T>
  T need(const std::optional<T>& value, const char* what) const {
    if (!value) usage(where, " takes ", what);
    return *value;
  }
};

void assign(const Key& key, const toml::node& node, const std::string& source) {
  const auto line = node.source().begin.line;
  const std::string at = line ? concat_text(source, " line ", line) : source;
  std::visit(Assign{node, at + ": " + key.name}, key.field);
}

toml::table parse(std::string_view text, const std::string& source) {
  try {
    return toml::parse(text);
  } catch (const toml::parse_error& e) {
    usage(source, " line ", e.source().begin.line, ": ", e.description());
  }
}

std::string number(double v) {
  if (std::isnan(v)) return "nan";
  if (std::isinf(v)) return v > 0 ? "inf" : "-inf";
  char text[32];
  auto [end, error] = std::to_chars(text, text + sizeof text, v);
  std::string s(text, end);
  return s.find_first_of(".e") == std::string::npos ? s + ".0" : s;
}

struct Print {
  std::string operator()(const bool* v) const { return *v ? "true" : "false"; }
  std::string operator()(const int64_t* v) const { return std::to_string(*v); }
  std::string operator()(const double* v) const { return number(*v); }
  std::string operator()(const std::string* v) const {
    std::ostringstream out;
    out << toml::value<std::string>(*v);
    return out.str();
  }
  std::string operator()(const std::vector<int64_t>* v) const {
    std::string s = "[";
    for (int64_t x : *v) s += (s.size() > 1 ? ", " : "") + std::to_string(x);
    return s + "]";
  }
};

void one_of(const std::string& key, const std::string& value, const std::vector<std::string>& allowed) {
  if (std::ranges::find(allowed, value) != allowed.end()) return;
  std::string list;
  for (const auto& a : allowed) list += (list.empty() ? "" : ", ") + a;
  usage(key, ": expected one of ", list, "; got '", value, "'");
}

void at_least(const std::string& key, double value, double low) {
  if (!(value >= low)) usage(key, ": expected at least ", low, ", got ", value);
}

}  // namespace

void load_toml(Config& config, std::string_view text, const std::string& source) {
  const toml::table table = parse(text, source);
  const auto keys = keys_of(config);
  for (const auto& [section, node] : table) {
    const toml::table* entries = node.as_table();
    if (!entries) usage(source, " line ", node.source().begin.line, ": '", section.str(), "' stands outside a [section]");
    for (const auto& [name, value] : *entries) {
      const std::string full = std::string(section.str()) + "." + std::string(name.str());
      assign(find_key(keys, full, concat_text(source, " line ", value.source().begin.line)), value, source);
    }
  }
}

void set_key(Config& config, std::string_view assignment, const std::string& source) {
  const size_t equals = assignment.find('=');
  if (equals == std::string_view::npos) usage(source, ": expected section.key=value, got '", assignment, "'");
  const auto keys = keys_of(config);
  const std::string name(assignment.substr(0, equals));
  const Key& key = find_key(keys, name, source);
  const std::string value(assignment.substr(equals + 1));
  if (auto* text = std::get_if<std::string*>(&key.field); text && !value.starts_with('"') && !value.starts_with('\'')) {
    **text = value;
    return;
  }
  const toml::table table = parse("value = " + value, source + " " + key.name);
  std::visit(Assign{*table.get("value"), source + ": " + key.name}, key.field);
}

std::string to_toml(const Config& config) {
  Config copy = config;
  std::string text, section;
  for (const Key& key : keys_of(copy)) {
    const std::string name = key.name;
    const std::string prefix = name.substr(0, name.find('.'));
    if (prefix != section) text += (section.empty() ? "[" : "\n[") + prefix + "]\n";
    section = prefix;
    text += name.substr(prefix.size() + 1) + " = " + std::visit(Print{}, key.field) + "\n";
  }
  return text;
}

void finish(Config& c) {
  one_of("optim.name", c.optim.name, {"sgd", "absgd", "adam", "adamw", "abadam", "abadamw"});
  if (c.optim.name.starts_with("ab")) {
    c.optim.name = c.optim.name.substr(2);
    c.risk.name = "kl";
  }
  one_of("risk.name", c.risk.name, {"mean", "kl"});
  one_of("risk.normalize", c.risk.normalize, {"weights", "batch"});
  one_of("risk.u_init", c.risk.u_init, {"first_batch", "zero"});
  one_of("data.name", c.data.name, {"fashion-mnist", "cifar10", "cifar100"});
  one_of("data.imb_type", c.data.imb_type, {"none", "exp", "step"});
  one_of("data.noise_type", c.data.noise_type, {"none", "symmetric", "asymmetric"});
  one_of("data.sampler", c.data.sampler, {"shuffle", "class-balanced"});
  if (!c.model.stem.empty()) one_of("model.stem", c.model.stem, {"imagenet", "cifar"});
  one_of("loss.name", c.loss.name, {"ce"});
  one_of("loss.class_weights", c.loss.class_weights, {"none", "balanced"});
  one_of("train.amp", c.train.amp, {"off", "bf16"});
  if (c.risk.lambda == 0 || std::isnan(c.risk.lambda))
    usage("risk.lambda: expected a non-zero number (inf for plain SGD), got ", c.risk.lambda);
  if (!(c.data.imb_factor > 0 && c.data.imb_factor <= 1))
    usage("data.imb_factor: expected a number in (0, 1], got ", c.data.imb_factor);
  if (!(c.data.val_fraction >= 0 && c.data.val_fraction < 1))
    usage("data.val_fraction: expected a number in [0, 1), got ", c.data.val_fraction);
  at_least("train.epochs", static_cast<double>(c.train.epochs), 1);
  at_least("train.batch_size", static_cast<double>(c.train.batch_size), 1);
  at_least("train.threads", static_cast<double>(c.train.threads), 0);
  at_least("train.seed", static_cast<double>(c.train.seed), 0);
  at_least("train.eval_every", static_cast<double>(c.train.eval_every), 1);
  at_least("data.n_max", static_cast<double>(c.data.n_max), 0);
  at_least("train.log_interval", static_cast<double>(c.train.log_interval), 1);
  one_of("train.eval_metric", c.train.eval_metric, {"top1", "balanced", "macro_f1", "loss"});
  if (!(c.train.ema_decay >= 0 && c.train.ema_decay < 1))
    usage("train.ema_decay: expected a number in [0, 1), got ", c.train.ema_decay);
  at_least("train.accumulate", static_cast<double>(c.train.accumulate), 1);
  at_least("train.patience", static_cast<double>(c.train.patience), 0);
  at_least("train.limit_batches", static_cast<double>(c.train.limit_batches), 0);
  at_least("data.pad", static_cast<double>(c.data.pad), 0);
  at_least("data.workers", static_cast<double>(c.data.workers), 0);
}

std::vector<std::string> differences(const Config& from, const Config& to,
                                     const std::vector<std::string>& ignored) {
  Config a = from, b = to;
  const auto old_keys = keys_of(a), new_keys = keys_of(b);
  std::vector<std::string> found;
  for (size_t i = 0; i < old_keys.size(); i++) {
    const std::string before = std::visit(Print{}, old_keys[i].field);
    const std::string after = std::visit(Print{}, new_keys[i].field);
    if (before != after && std::ranges::find(ignored, old_keys[i].name) == ignored.end())
      found.push_back(concat_text(old_keys[i].name, ": ", before, " -> ", after));
  }
  return found;
}

std::vector<std::string> recipe_names() {
  std::vector<std::string> names;
  for (const Recipe& r : kRecipes) names.push_back(r.name);
  return names;
}

std::string recipe_text(const std::string& name) {
  for (const Recipe& r : kRecipes)
    if (name == r.name) return r.text;
  if (std::filesystem::is_regular_file(name)) {
    std::ifstream file(name);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::string list;
  for (const auto& n : recipe_names()) list += (list.empty() ? "" : ", ") + n;
  usage("--recipe: no recipe or file '", name, "'; did you mean '", nearest(name, recipe_names()),
        "'? Recipes: ", list);
}

}  // namespace fulcrum::apps
