#include "apps/parameters.h"

#include <charconv>
#include <cmath>
#include <map>
#include <optional>

#include "apps/ranges.h"

namespace fulcrum::apps {

namespace {

struct Rule {
  std::string pattern;
  double weight_decay;
};

Rule parse_rule(const std::string& text) {
  const size_t equals = text.find('=');
  Rule rule{text.substr(0, equals), -1};
  if (equals != std::string::npos) {
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data() + equals + 1, end, rule.weight_decay);
    if (stop != end || error != std::errc()) rule.weight_decay = -1;
  }
  if (rule.pattern.empty() || !std::isfinite(rule.weight_decay) || rule.weight_decay < 0)
    usage("optim.weight_decay_of: expected PATTERN=VALUE with a value of at least 0, as in 'fc1.*=0.01', got '",
          text, "'");
  return rule;
}

bool matches(std::string_view pattern, std::string_view name) {
  if (pattern.empty()) return name.empty();
  if (pattern[0] != '*')
    return !name.empty() && name[0] == pattern[0] && matches(pattern.substr(1), name.substr(1));
  return matches(pattern.substr(1), name) || (!name.empty() && matches(pattern, name.substr(1)));
}

}  // namespace

void check_weight_decays(const OptimSettings& s) {
  for (const std::string& text : s.weight_decay_of) parse_rule(text);
}

std::vector<ParamGroup> parameter_groups(const Module& model, const OptimSettings& s) {
  std::vector<Rule> rules;
  for (const std::string& text : s.weight_decay_of) rules.push_back(parse_rule(text));
  std::vector<bool> used(rules.size());
  std::map<std::optional<double>, ParamGroup> groups;
  for (const NamedTensor& p : model.named_parameters()) {
    std::optional<double> own;  // empty: optim.weight_decay
    for (size_t i = 0; i < rules.size(); i++) {
      if (!matches(rules[i].pattern, p.name)) continue;
      own = rules[i].weight_decay;
      used[i] = true;
    }
    if (!p.tensor.requires_grad()) continue;
    groups[own].weight_decay = own;
    groups[own].parameters.push_back(p.tensor);
  }
  for (size_t i = 0; i < rules.size(); i++)
    if (!used[i])
      usage("optim.weight_decay_of: no parameter of the model has a name like '", rules[i].pattern,
            "'; its first is '", model.named_parameters().front().name, "'");
  std::vector<ParamGroup> list;
  for (auto& [decay, group] : groups) list.push_back(std::move(group));
  return list;
}

}  // namespace fulcrum::apps
