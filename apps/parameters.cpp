#include "apps/parameters.h"

#include <charconv>
#include <cmath>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include "apps/ranges.h"

namespace fulcrum::apps {

namespace {

struct Rule {
  std::string pattern;
  double value;
};

Rule parse_rule(const char* key, const std::string& text) {
  const size_t equals = text.find('=');
  Rule rule{text.substr(0, equals), -1};
  if (equals != std::string::npos) {
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data() + equals + 1, end, rule.value);
    if (stop != end || error != std::errc()) rule.value = -1;
  }
  if (rule.pattern.empty() || !std::isfinite(rule.value) || rule.value < 0)
    usage(key, ": expected PATTERN=VALUE with a value of at least 0, as in 'fc1.*=0.01', got '", text, "'");
  return rule;
}

// Glob matching. On a mismatch the last star takes one letter more; earlier stars never have to.
bool matches(std::string_view pattern, std::string_view name) {
  size_t at = 0, star = std::string_view::npos, after_star = 0;
  for (size_t i = 0; i < name.size();) {
    if (at < pattern.size() && pattern[at] == '*') {
      star = at++;
      after_star = i;
    } else if (at < pattern.size() && pattern[at] == name[i]) {
      at++, i++;
    } else if (star != std::string_view::npos) {
      at = star + 1;
      i = ++after_star;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', at) == std::string_view::npos;
}

/// The rules of one setting, and which of them match some parameter.
class Rules {
 public:
  Rules(const char* key, const std::vector<std::string>& texts) : key_(key) {
    for (const std::string& text : texts) rules_.push_back(parse_rule(key, text));
    used_.resize(rules_.size());
  }
  /// The value of the last rule that matches.
  std::optional<double> value_of(std::string_view name) {
    std::optional<double> value;
    for (size_t i = 0; i < rules_.size(); i++) {
      if (!matches(rules_[i].pattern, name)) continue;
      value = rules_[i].value;
      used_[i] = true;
    }
    return value;
  }
  void check_used(const std::string& first_name) const {
    for (size_t i = 0; i < rules_.size(); i++)
      if (!used_[i])
        usage(key_, ": no parameter of the model has a name like '", rules_[i].pattern, "'; its first is '", first_name,
              "'. --set ", key_, "=[] takes the rules of a recipe for another model away");
  }

 private:
  const char* key_;
  std::vector<Rule> rules_;
  std::vector<bool> used_;
};

constexpr const char *kDecays = "optim.weight_decay_of", *kRates = "optim.lr_of";

}  // namespace

void check_parameter_patterns(const OptimSettings& s) {
  const Rules decays(kDecays, s.weight_decay_of), rates(kRates, s.lr_of);  // throws for malformed rules
  if (!s.lr_of.empty() && s.lr == 0) usage("optim.lr: expected a number above 0 beside optim.lr_of, got 0");
}

std::vector<ParamGroup> parameter_groups(const Module& model, const OptimSettings& s) {
  Rules decays(kDecays, s.weight_decay_of), rates(kRates, s.lr_of);
  std::map<std::pair<std::optional<double>, std::optional<double>>, ParamGroup> groups;
  for (const NamedTensor& p : model.named_parameters()) {
    const auto decay = decays.value_of(p.name), rate = rates.value_of(p.name);
    if (!p.tensor.requires_grad()) continue;
    ParamGroup& group = groups[{rate, decay}];
    group.weight_decay = decay;
    if (rate) group.lr_scale = *rate / s.lr;
    group.parameters.push_back(p.tensor);
  }
  decays.check_used(model.named_parameters().front().name);
  rates.check_used(model.named_parameters().front().name);
  std::vector<ParamGroup> list;
  for (auto& [key, group] : groups) list.push_back(std::move(group));
  return list;
}

}  // namespace fulcrum::apps
