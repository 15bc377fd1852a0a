#include "apps/config.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>
#include <sstream>

#include <fulcrum/core/serialize.h>
#include <fulcrum/core/serialize_json.h>

#include "apps/augmentation.h"
#include "apps/data_sets.h"
#include "apps/losses.h"
#include "apps/parameters.h"
#include "apps/ranges.h"
#include "apps/recipes.h"
#include "apps/risks.h"
#include "apps/toml.h"

namespace fulcrum::apps {

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
  std::string where, given = {};

  void operator()(bool* field) const { *field = need(node.value_exact<bool>(), "true or false"); }
  void operator()(int64_t* field) const { *field = need(node.value_exact<int64_t>(), "an integer"); }
  void operator()(double* field) const { *field = need(node.value<double>(), "a number"); }
  void operator()(std::string* field) const { *field = need(node.value_exact<std::string>(), "a string"); }
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
    if (!array) usage(where, " takes ", what, given);
    field.clear();
    for (const toml::node& element : *array) field.push_back(need(value(element), what));
  }

  template <class T>
  T need(const std::optional<T>& value, const char* what) const {
    if (!value) usage(where, " takes ", what, given);
    return *value;
  }
};

void assign(const Key& key, const toml::node& node, const std::string& source) {
  const auto line = node.source().begin.line;
  const std::string at = line ? concat_text(source, " line ", line) : source;
  std::visit(Assign{node, at + ": " + key.name}, key.field);
}

// The parser recurses once for each dot of a key, so that a long line could exhaust the stack.
void refuse_long_lines(std::string_view text, const std::string& source) {
  constexpr size_t kMost = 16384;
  size_t line = 1, begin = 0;
  for (size_t i = 0; i < text.size(); i++) {
    if (i - begin >= kMost) usage(source, " line ", line, ": expected at most ", kMost, " bytes");
    if (text[i] == '\n') line++, begin = i + 1;
  }
}

toml::table parse(std::string_view text, const std::string& source) {
  refuse_long_lines(text, source);
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
    if (!entries)
      usage(source, " line ", node.source().begin.line, ": '", section.str(), "' stands outside a [section]");
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
  toml::table table;
  try {
    table = toml::parse("value = " + value);
  } catch (const toml::parse_error&) {
    table = toml::parse("value = {}");  // a table, which no key takes
  }
  std::visit(Assign{*table.get("value"), source + ": " + key.name, concat_text(", got '", value, "'")}, key.field);
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
  check_parameter_patterns(o);
}

void check_schedule(const ScheduleSettings& s) {
  one_of("schedule.kind", s.kind, {"constant", "multistep", "step", "cosine"});
  in_range("schedule.gamma", s.gamma, 0, kInfinity, "(0, inf)");
  count("schedule.step_size", s.step_size, 1);
  in_range("schedule.min_factor", s.min_factor, 0, kInfinity, "[0, inf)");
  count("schedule.warmup", s.warmup, 0);
  for (const int64_t m : s.milestones) count("schedule.milestones", m, 0);
  if (!std::ranges::is_sorted(s.milestones))
    usage("schedule.milestones: expected epochs in growing order, got ", Print()(&s.milestones));
  for (const double f : s.factors) in_range("schedule.factors", f, 0, kInfinity, "(0, inf)");
  if (!s.factors.empty() && s.factors.size() != s.milestones.size())
    usage("schedule.factors: expected one for each of the ", s.milestones.size(), " milestones, got ",
          s.factors.size());
}

}  // namespace

void finish(Config& c) {
  for (const Key& key : keys_of(c))
    if (const auto* text = std::get_if<std::string*>(&key.field); text && !header_json::is_utf8(**text))
      usage(key.name, ": expected UTF-8, got other bytes");
  one_of("optim.name", c.optim.name, {"sgd", "absgd", "adam", "adamw", "abadam", "abadamw"});
  if (c.optim.name.starts_with("ab")) {
    if (c.risk.name != "mean" && c.risk.name != "kl" && c.risk.name != "tilted")
      refuse_risk_beside(c.optim.name, c.risk.name);
    c.optim.name = c.optim.name.substr(2);
    if (c.risk.name == "mean") c.risk.name = "kl";
  }
  finish_risk(c);
  check_optim(c.optim);
  check_schedule(c.schedule);
  check_data(c.data);
  check_mixing(c);
  check_loss(c.loss);
  in_range("model.dropout", c.model.dropout, 0, 1, "[0, 1)");
  if (!c.model.stem.empty()) one_of("model.stem", c.model.stem, {"imagenet", "cifar"});
  one_of("model.freeze", c.model.freeze, {"none", "backbone"});
  if (c.model.pretrained.empty() && (c.model.freeze != "none" || c.model.reset_head))
    usage(c.model.reset_head ? "model.reset_head" : "model.freeze",
          ": expected a file in model.pretrained beside it, got none");
  one_of("train.amp", c.train.amp, {"off", "bf16"});
  count("train.epochs", c.train.epochs, 1);
  count("train.batch_size", c.train.batch_size, 1);
  count("train.threads", c.train.threads, 0, 1024);
  at_least("train.seed", static_cast<double>(c.train.seed), 0);
  count("train.eval_every", c.train.eval_every, 1);
  count("train.log_interval", c.train.log_interval, 1);
  count("train.recovery_interval", c.train.recovery_interval, 0);
  one_of("train.eval_metric", c.train.eval_metric, {"top1", "balanced", "macro_f1", "loss"});
  if (!(c.train.ema_decay >= 0 && c.train.ema_decay < 1))
    usage("train.ema_decay: expected a number in [0, 1), got ", c.train.ema_decay);
  count("train.accumulate", c.train.accumulate, 1);
  count("train.patience", c.train.patience, 0);
  count("train.limit_batches", c.train.limit_batches, 0);
}

std::vector<Difference> differences(const Config& from, const Config& to, const std::vector<std::string>& ignored) {
  Config a = from, b = to;
  const auto old_keys = keys_of(a), new_keys = keys_of(b);
  std::vector<Difference> found;
  for (size_t i = 0; i < old_keys.size(); i++) {
    const std::string before = std::visit(Print{}, old_keys[i].field);
    const std::string after = std::visit(Print{}, new_keys[i].field);
    if (before != after && std::ranges::find(ignored, old_keys[i].name) == ignored.end())
      found.push_back({old_keys[i].name, before, after});
  }
  return found;
}

std::string listed(const std::vector<Difference>& differences) {
  std::string list;
  for (const Difference& d : differences) list += "\n  " + d.text();
  return list;
}

std::vector<std::string> recipe_names() {
  std::vector<std::string> names;
  for (const Recipe& r : kRecipes) names.push_back(r.name);
  return names;
}

std::string read_settings_file(const std::string& flag, const std::string& path) {
  try {
    return read_text_file(path);
  } catch (const Error& e) {
    usage(flag, ": ", e.what());
  }
}

std::string recipe_text(const std::string& name) {
  for (const Recipe& r : kRecipes)
    if (name == r.name) return r.text;
  if (std::filesystem::is_regular_file(name)) return read_settings_file("--recipe", name);
  std::string list;
  for (const auto& n : recipe_names()) list += (list.empty() ? "" : ", ") + n;
  usage("--recipe: no recipe or file '", name, "'; did you mean '", nearest(name, recipe_names()),
        "'? Recipes: ", list);
}

}  // namespace fulcrum::apps
