// A JSON object of a run directory, whose members are read by key and type.
//
//   const JsonObject row(parsed, "[report] runs/a/metrics.jsonl line 3");
//   row.integer("epoch");  row.number("lr");  row.share("top1");  row.child("train");
//
// A member of another type throws Error: "[report] runs/a/metrics.jsonl line 3: expected a number for 'lr', got
// "fast"".
#pragma once

#include <cmath>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <fulcrum/core/check.h>

namespace fulcrum::apps {

class JsonObject {
 public:
  JsonObject(const nlohmann::json& value, std::string where) : value_(value), where_(std::move(where)) {
    check(value_.is_object(), where_, ": expected an object, got ", brief(value_));
  }

  const std::string& where() const { return where_; }
  std::vector<std::string> keys() const {
    std::vector<std::string> names;
    for (const auto& [key, value] : value_.items()) names.push_back(key);
    return names;
  }

  /// NaN where absent or null.
  double number(const std::string& key) const {
    const auto* member = find(key);
    if (!member) return std::nan("");
    if (!member->is_number()) refuse("a number", key, *member);
    return member->get<double>();
  }
  /// A number in [0, 1].
  double share(const std::string& key) const {
    const double v = number(key);
    if (v < 0 || v > 1 + kRounding) refuse("a share in [0, 1]", key, *find(key));
    return v;
  }
  /// An integer of at least 0, which must be present.
  int64_t integer(const std::string& key) const {
    const auto* member = find(key);
    if (!member) fail(where_, ": expected '", key, "'");
    return count(key, *member);
  }
  std::string text(const std::string& key) const {
    const auto* member = find(key);
    if (!member) fail(where_, ": expected '", key, "'");
    if (!member->is_string()) refuse("a string", key, *member);
    return member->get<std::string>();
  }
  /// A list of shares, NaN where null; empty if absent.
  std::vector<double> shares(const std::string& key) const {
    std::vector<double> values;
    for (const auto& v : list(key)) {
      if (!v.is_null() && !(v.is_number() && v >= 0.0 && v <= 1 + kRounding)) refuse("shares in [0, 1]", key, v);
      values.push_back(v.is_null() ? std::nan("") : v.get<double>());
    }
    return values;
  }
  std::vector<int64_t> integers(const std::string& key) const {
    std::vector<int64_t> values;
    for (const auto& v : list(key)) values.push_back(count(key, v));
    return values;
  }
  std::vector<std::string> texts(const std::string& key) const {
    std::vector<std::string> values;
    for (const auto& v : list(key)) {
      if (!v.is_string()) refuse("strings", key, v);
      values.push_back(v.get<std::string>());
    }
    return values;
  }
  std::optional<JsonObject> child(const std::string& key) const {
    const auto* member = find(key);
    if (!member) return std::nullopt;
    return JsonObject(*member, where_ + " '" + key + "'");
  }

 private:
  // Shares are computed from sums of f32 numbers.
  static constexpr double kRounding = 1e-6;

  static std::string brief(const nlohmann::json& v) {
    const std::string text = v.dump(-1, ' ', true);
    return text.size() > 40 ? text.substr(0, 37) + "..." : text;
  }
  [[noreturn]] void refuse(const char* expected, const std::string& key, const nlohmann::json& got) const {
    fail(where_, ": expected ", expected, " for '", key, "', got ", brief(got));
  }
  const nlohmann::json* find(const std::string& key) const {
    const auto it = value_.find(key);
    return it == value_.end() || it->is_null() ? nullptr : &*it;
  }
  const nlohmann::json& list(const std::string& key) const {
    static const nlohmann::json kNone = nlohmann::json::array();
    const auto* member = find(key);
    if (!member) return kNone;
    if (!member->is_array()) refuse("a list", key, *member);
    return *member;
  }
  int64_t count(const std::string& key, const nlohmann::json& v) const {
    if (!v.is_number_integer() || v < 0) refuse("an integer of at least 0", key, v);
    return v.get<int64_t>();
  }

  const nlohmann::json& value_;
  std::string where_;
};

}  // namespace fulcrum::apps
