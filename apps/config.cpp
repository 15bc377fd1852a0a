#include "apps/config.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <fstream>
#include <numeric>
#include <sstream>

#include <toml++/toml.h>

#include "apps/data_sets.h"
#include "apps/losses.h"
#include "apps/parameters.h"
#include "apps/ranges.h"
#include "apps/recipes.h"
#include "apps/risks.h"

namespace fulcrum::apps {

std::vector<Key> keys_of(Config& c) {
  return {
      {"data.name", &c.data.name,
       "fashion-mnist, mnist, cifar10, cifar100, folder, list, pack, imagenet-lt, places-lt, inaturalist18, "
       "clothing1m or iwildcam"},
      {"data.dir", &c.data.dir, "folder of the data set"},
      {"data.train_list", &c.data.train_list, "list: file with 'path label' lines of the training images"},
      {"data.val_list", &c.data.val_list, "list: the same of images that choose the best epoch"},
      {"data.test_list", &c.data.test_list, "list: the same of the test images"},
      {"data.class_names", &c.data.class_names, "list: file with a class name a line"},
      {"data.train_split", &c.data.train_split, "clothing1m: noisy_train or clean_train"},
      {"data.eval_splits", &c.data.eval_splits, "parts evaluated beside the test set; val chooses the best epoch"},
      {"data.follow_links", &c.data.follow_links, "of lists and annotations: links may lead out of data.dir"},
      {"data.image_size", &c.data.image_size, "image files: brought to squares of this side; 0: as they are"},
      {"data.resize_size", &c.data.resize_size, "image files: the shorter side before the centre crop; 0: data.image_size"},
      {"data.crop_mode", &c.data.crop_mode, "image files: center, or squash: both sides to data.image_size"},
      {"data.exif_orientation", &c.data.exif_orientation, "image files: turn JPEGs as their EXIF data say"},
      {"data.fast_decode", &c.data.fast_decode, "image files: reduce large JPEGs while they are decoded"},
      {"data.channels", &c.data.channels, "image files: 3 (colour) or 1 (grey)"},
      {"data.on_bad_image", &c.data.on_bad_image, "image files: error, or skip: leave out what does not decode"},
      {"data.mean", &c.data.mean, "of each channel, in [0, 1]; empty: the data set's"},
      {"data.std", &c.data.stddev, "of each channel; empty: the data set's"},
      {"data.imb_type", &c.data.imb_type, "none, exp or step"},
      {"data.imb_factor", &c.data.imb_factor, "smallest class / largest class"},
      {"data.n_max", &c.data.n_max, "samples of the largest class; 0: all"},
      {"data.noise_type", &c.data.noise_type, "none, symmetric, asymmetric or matrix"},
      {"data.noise_rate", &c.data.noise_rate, "share of wrong labels"},
      {"data.noise_matrix", &c.data.noise_matrix, "matrix: file with a row of shares for each class"},
      {"data.val_fraction", &c.data.val_fraction, "stratified part of train held out for selection"},
      {"data.subset_seed", &c.data.subset_seed, "seed of the imbalance, noise and split draws"},
      {"data.sampler", &c.data.sampler, "shuffle or class-balanced"},
      {"data.random_resized_crop", &c.data.random_resized_crop, "training images are random parts, resized"},
      {"data.scale", &c.data.scale, "random_resized_crop: smallest and largest share of the area"},
      {"data.ratio", &c.data.ratio, "random_resized_crop: smallest and largest width over height"},
      {"data.pad", &c.data.pad, "zero pixels around before the random crop"},
      {"data.flip", &c.data.flip, "random left-right flip"},
      {"data.rotation", &c.data.rotation, "random rotation by up to so many degrees either way, after crop and flip"},
      {"data.workers", &c.data.workers, "prefetch threads; 0: none"},
      {"model.name", &c.model.name, "resnet8 to 110 and sce_cnn, of CIFAR; resnet10 to 152 and resnext50_32x4d: fulcrum info lists them"},
      {"model.stem", &c.model.stem, "imagenet or cifar (3x3 convolution, no pooling); empty: the model's own"},
      {"model.pretrained", &c.model.pretrained, "weights to start from, a safetensors file"},
      {"model.reset_head", &c.model.reset_head, "do not take the head of model.pretrained, even where it fits"},
      {"model.freeze", &c.model.freeze, "none, or backbone: train the head alone"},
      {"model.dropout", &c.model.dropout, "before the classifier"},
      {"loss.name", &c.loss.name,
       "ce, focal, gce, tgce, sce, mae, js, ldam, balanced-softmax, logit-adjustment, ldr-kl or aldr-kl"},
      {"loss.smoothing", &c.loss.smoothing, "label smoothing"},
      {"loss.class_weights", &c.loss.class_weights, "none or balanced: (1-beta)/(1-beta^n), sum C"},
      {"loss.cb_beta", &c.loss.cb_beta, "beta of the class-balanced weights"},
      {"loss.drw_epoch", &c.loss.drw_epoch, "epoch from which class weights apply (deferred)"},
      {"loss.on_weighted", &c.loss.on_weighted, "phi(w l) instead of w phi(l) under class weights"},
      {"loss.focal_gamma", &c.loss.focal_gamma, "focal: exponent of 1-p"},
      {"loss.gce_q", &c.loss.gce_q, "gce, tgce: q"},
      {"loss.tgce_k", &c.loss.tgce_k, "tgce: probability below which a sample has no gradient"},
      {"loss.tgce_prune_epoch", &c.loss.tgce_prune_epoch, "tgce: epoch from which samples with p <= k are left out; 0: never"},
      {"loss.tgce_prune_every", &c.loss.tgce_prune_every, "tgce: epochs between two choices of what is left out"},
      {"loss.sce_a", &c.loss.sce_a, "sce: factor of the cross entropy"},
      {"loss.sce_b", &c.loss.sce_b, "sce: factor of the reverse cross entropy"},
      {"loss.js_pi", &c.loss.js_pi, "js: share of the label in the mixture"},
      {"loss.ldam_max_m", &c.loss.ldam_max_m, "ldam: margin of the rarest class"},
      {"loss.ldam_scale", &c.loss.ldam_scale, "ldam: factor of the cosines"},
      {"loss.tau", &c.loss.tau, "logit-adjustment: factor of the log prior"},
      {"loss.class_tau", &c.loss.class_tau, "exponent of the class temperatures max n/n; 0: none"},
      {"loss.logit_norm", &c.loss.logit_norm, "logits are divided by their norm to this power; 0: are not"},
      {"loss.ldr_margin", &c.loss.ldr_margin, "ldr-kl, aldr-kl: margin"},
      {"loss.ldr_lambda", &c.loss.ldr_lambda, "ldr-kl: lambda; aldr-kl: the largest lambda"},
      {"loss.aldr_alpha", &c.loss.aldr_alpha, "aldr-kl: lambda is at least ldr_lambda (1 - 1/alpha)"},
      {"risk.name", &c.risk.name, "mean, kl, tilted, cvar, chi2, rgd, group or kl_ball"},
      {"risk.normalize", &c.risk.normalize, "mean with class weights: weights (sum w l / sum w) or batch"},
      {"risk.lambda", &c.risk.lambda, "kl, tilted: lambda of ABSGD; inf: plain"},
      {"risk.gamma", &c.risk.gamma, "step of the moving average u"},
      {"risk.alpha", &c.risk.alpha, "scale of the batch mean that enters u"},
      {"risk.additive", &c.risk.additive, "adds additive/B to every weight"},
      {"risk.u_init", &c.risk.u_init, "first_batch or zero"},
      {"risk.keep_u", &c.risk.keep_u, "do not restart u when lambda changes"},
      {"risk.u_update", &c.risk.u_update, "kl: average or scent"},
      {"risk.log_step", &c.risk.log_step, "kl with scent: log of the step"},
      {"risk.anneal_gamma", &c.risk.anneal_gamma, "kl: gamma falls from 1 along a cosine, as in SOX"},
      {"risk.cvar_level", &c.risk.cvar_level, "cvar: share of the batch that is heard"},
      {"risk.rho", &c.risk.rho, "chi2, kl_ball: radius of the ball around equal weights"},
      {"risk.tau", &c.risk.tau, "rgd: losses are clipped here"},
      {"risk.eta", &c.risk.eta, "group: step of the class weights"},
      {"risk.group_adjustment", &c.risk.group_adjustment, "group: C in mean loss + C/sqrt(n)"},
      {"risk.target_fraction", &c.risk.target_fraction, "kl_ball: effective sample fraction, instead of rho; 0: rho"},
      {"risk.sign", &c.risk.sign, "kl_ball: sign of lambda, positive or negative"},
      {"risk.window", &c.risk.window, "kl_ball: recent losses that lambda is solved on"},
      {"risk.solve_every", &c.risk.solve_every, "kl_ball: steps between two solutions for lambda"},
      {"risk.from_epoch", &c.risk.from_epoch, "the mean before this epoch"},
      {"optim.name", &c.optim.name, "sgd, absgd, adam, adamw, abadam or abadamw"},
      {"optim.lr", &c.optim.lr, "learning rate"},
      {"optim.momentum", &c.optim.momentum, "of SGD"},
      {"optim.nesterov", &c.optim.nesterov, "Nesterov momentum"},
      {"optim.weight_decay", &c.optim.weight_decay, "on every parameter"},
      {"optim.weight_decay_of", &c.optim.weight_decay_of,
       "list of PATTERN=VALUE: another one for the parameters of these names, as in \"fc1.*=0.01\""},
      {"optim.beta1", &c.optim.beta1, "of Adam"},
      {"optim.beta2", &c.optim.beta2, "of Adam"},
      {"optim.eps", &c.optim.eps, "of Adam"},
      {"optim.max_norm", &c.optim.max_norm, "gradient clipping by norm; 0: none"},
      {"schedule.kind", &c.schedule.kind, "constant, multistep, step or cosine"},
      {"schedule.milestones", &c.schedule.milestones, "multistep: epochs at which lr is multiplied"},
      {"schedule.gamma", &c.schedule.gamma, "multistep, step: the multiplier"},
      {"schedule.factors", &c.schedule.factors, "multistep: a multiplier for each milestone, instead of gamma"},
      {"schedule.step_size", &c.schedule.step_size, "step: epochs between multiplications"},
      {"schedule.min_factor", &c.schedule.min_factor, "cosine: lr factor at the end"},
      {"schedule.warmup", &c.schedule.warmup, "epochs of linear warm-up"},
      {"train.epochs", &c.train.epochs, "epochs"},
      {"train.batch_size", &c.train.batch_size, "images a step"},
      {"train.seed", &c.train.seed, "of weights, order, augmentation, dropout"},
      {"train.amp", &c.train.amp, "off or bf16"},
      {"train.device", &c.train.device, "cpu or cuda[:N]"},
      {"train.graph", &c.train.graph, "GPU: record the step as a CUDA graph and replay it"},
      {"train.tf32", &c.train.tf32, "GPU: convolutions and matrix products of f32 in TF32"},
      {"train.cudnn_benchmark", &c.train.cudnn_benchmark, "GPU: time cuDNN's plans and take the fastest"},
      {"train.threads", &c.train.threads, "CPU threads; 0: all cores"},
      {"train.output", &c.train.output, "run directory"},
      {"train.eval_every", &c.train.eval_every, "epochs between evaluations; the last is always evaluated"},
      {"train.log_interval", &c.train.log_interval, "steps between plain progress lines"},
      {"train.recovery_interval", &c.train.recovery_interval,
       "steps between checkpoints within an epoch; 0: at its end alone"},
      {"train.accumulate", &c.train.accumulate, "batches whose gradients make one update"},
      {"train.ema_decay", &c.train.ema_decay, "moving average of the weights, evaluated in their place; 0: none"},
      {"train.eval_metric", &c.train.eval_metric, "chooses the best epoch: top1, balanced, macro_f1 or loss"},
      {"train.patience", &c.train.patience, "stop after so many epochs without a better one; 0: never"},
      {"train.limit_batches", &c.train.limit_batches, "batches an epoch, in training and evaluation; 0: all"},
      {"train.sync_bn", &c.train.sync_bn, "several processes: batch norm over the whole batch, not over each part"},
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
    fill(*field, "a list of integers", [](const toml::node& n) { return n.value_exact<int64_t>(); });
  }
  void operator()(std::vector<double>* field) const {
    fill(*field, "a list of numbers", [](const toml::node& n) { return n.value<double>(); });
  }
  void operator()(std::vector<std::string>* field) const {
    fill(*field, "a list of strings", [](const toml::node& n) { return n.value_exact<std::string>(); });
  }

  template <class T, class Value>
  void fill(std::vector<T>& field, const char* what, Value value) const {
    const toml::array* array = node.as_array();
    if (!array) usage(where, " takes ", what);
    field.clear();
    for (const toml::node& element : *array) field.push_back(need(value(element), what));
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
  template <class T>
  std::string operator()(const std::vector<T>* v) const {
    std::string s = "[";
    for (const T& x : *v) s += (s.size() > 1 ? ", " : "") + (*this)(&x);
    return s + "]";
  }
};

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

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

void check_optim(const OptimSettings& o) {
  in_range("optim.lr", o.lr, 0, kInfinity, "[0, inf)");
  in_range("optim.momentum", o.momentum, 0, 1, "[0, 1)");
  in_range("optim.weight_decay", o.weight_decay, 0, kInfinity, "[0, inf)");
  in_range("optim.beta1", o.beta1, 0, 1, "[0, 1)");
  in_range("optim.beta2", o.beta2, 0, 1, "[0, 1)");
  in_range("optim.eps", o.eps, 0, kInfinity, "[0, inf)");
  in_range("optim.max_norm", o.max_norm, 0, kInfinity, "[0, inf)");
  if (o.nesterov && o.name == "sgd" && o.momentum == 0)
    usage("optim.nesterov: expected optim.momentum above 0 beside it, got 0");
  check_weight_decays(o);
}

void check_schedule(const ScheduleSettings& s) {
  one_of("schedule.kind", s.kind, {"constant", "multistep", "step", "cosine"});
  in_range("schedule.gamma", s.gamma, 0, kInfinity, "(0, inf)");
  at_least("schedule.step_size", static_cast<double>(s.step_size), 1);
  in_range("schedule.min_factor", s.min_factor, 0, kInfinity, "[0, inf)");
  at_least("schedule.warmup", static_cast<double>(s.warmup), 0);
  for (const int64_t m : s.milestones) at_least("schedule.milestones", static_cast<double>(m), 0);
  if (!std::ranges::is_sorted(s.milestones))
    usage("schedule.milestones: expected epochs in growing order, got ", Print()(&s.milestones));
  for (const double f : s.factors) in_range("schedule.factors", f, 0, kInfinity, "(0, inf)");
  if (!s.factors.empty() && s.factors.size() != s.milestones.size())
    usage("schedule.factors: expected one for each of the ", s.milestones.size(), " milestones, got ",
          s.factors.size());
}

}  // namespace

void finish(Config& c) {
  one_of("optim.name", c.optim.name, {"sgd", "absgd", "adam", "adamw", "abadam", "abadamw"});
  if (c.optim.name.starts_with("ab")) {
    c.optim.name = c.optim.name.substr(2);
    c.risk.name = "kl";
  }
  finish_risk(c);
  check_optim(c.optim);
  check_schedule(c.schedule);
  check_data(c.data);
  check_loss(c.loss);
  in_range("model.dropout", c.model.dropout, 0, 1, "[0, 1)");
  if (!c.model.stem.empty()) one_of("model.stem", c.model.stem, {"imagenet", "cifar"});
  one_of("model.freeze", c.model.freeze, {"none", "backbone"});
  if (c.model.pretrained.empty() && (c.model.freeze != "none" || c.model.reset_head))
    usage(c.model.reset_head ? "model.reset_head" : "model.freeze",
          ": expected a file in model.pretrained beside it, got none");
  one_of("train.amp", c.train.amp, {"off", "bf16"});
  at_least("train.epochs", static_cast<double>(c.train.epochs), 1);
  at_least("train.batch_size", static_cast<double>(c.train.batch_size), 1);
  at_least("train.threads", static_cast<double>(c.train.threads), 0);
  at_least("train.seed", static_cast<double>(c.train.seed), 0);
  at_least("train.eval_every", static_cast<double>(c.train.eval_every), 1);
  at_least("train.log_interval", static_cast<double>(c.train.log_interval), 1);
  at_least("train.recovery_interval", static_cast<double>(c.train.recovery_interval), 0);
  one_of("train.eval_metric", c.train.eval_metric, {"top1", "balanced", "macro_f1", "loss"});
  if (!(c.train.ema_decay >= 0 && c.train.ema_decay < 1))
    usage("train.ema_decay: expected a number in [0, 1), got ", c.train.ema_decay);
  at_least("train.accumulate", static_cast<double>(c.train.accumulate), 1);
  at_least("train.patience", static_cast<double>(c.train.patience), 0);
  at_least("train.limit_batches", static_cast<double>(c.train.limit_batches), 0);
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
