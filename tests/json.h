// Just enough JSON to read the description inside the golden files, which are our own.
#pragma once

#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include <fulcrum/core/check.h>

namespace fulcrum::testing {

struct Json {
  enum class Kind { kNull, kBool, kNumber, kString, kList, kObject };
  Kind kind = Kind::kNull;
  double number = 0;  // of a bool: 0 or 1
  std::string text;
  std::vector<Json> list;
  std::map<std::string, Json> members;

  const Json& operator[](const std::string& key) const {
    const auto it = members.find(key);
    check(it != members.end(), "no '", key, "' in the description of the golden data");
    return it->second;
  }
  bool has(const std::string& key) const { return members.count(key) > 0; }
  double get(const std::string& key, double otherwise) const { return has(key) ? (*this)[key].number : otherwise; }
  explicit operator bool() const { return number != 0; }
  std::vector<int64_t> integers() const {
    std::vector<int64_t> values;
    for (const Json& j : list) values.push_back(static_cast<int64_t>(j.number));
    return values;
  }

  static Json parse(const std::string& text) {
    const char* at = text.c_str();
    return value(at);
  }

 private:
  static char next(const char*& at) {
    while (*at == ' ' || *at == '\n') at++;
    return *at;
  }
  static void expect(const char*& at, char c) {
    check(next(at) == c, "expected '", c, "' in the description of the golden data");
    at++;
  }
  static std::string string(const char*& at) {
    std::string s;
    for (expect(at, '"'); *at && *at != '"'; at++) s += *at;
    expect(at, '"');
    return s;
  }
  static Json word(const char*& at, const std::string& name, Kind kind, double number) {
    for (char c : name) expect(at, c);
    Json j;
    j.kind = kind;
    j.number = number;
    return j;
  }

  static Json value(const char*& at) {
    Json j;
    switch (next(at)) {
      case '{':
        j.kind = Kind::kObject;
        for (expect(at, '{'); next(at) != '}';) {
          const std::string key = string(at);
          expect(at, ':');
          j.members[key] = value(at);
          if (next(at) == ',') at++;
        }
        expect(at, '}');
        return j;
      case '[':
        j.kind = Kind::kList;
        for (expect(at, '['); next(at) != ']';) {
          j.list.push_back(value(at));
          if (next(at) == ',') at++;
        }
        expect(at, ']');
        return j;
      case '"':
        j.kind = Kind::kString;
        j.text = string(at);
        return j;
      case 't': return word(at, "true", Kind::kBool, 1);
      case 'f': return word(at, "false", Kind::kBool, 0);
      case 'n': return word(at, "null", Kind::kNull, 0);
      default: break;
    }
    char* end = nullptr;
    j.kind = Kind::kNumber;
    j.number = std::strtod(at, &end);
    check(end != at, "expected a number in the description of the golden data");
    at = end;
    return j;
  }
};

}  // namespace fulcrum::testing
