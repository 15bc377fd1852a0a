#include "apps/result.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "apps/json_text.h"
#include "apps/world.h"

namespace fulcrum::apps {

namespace {
using nlohmann::json;
constexpr size_t kShown = 10;  // elements of a list
constexpr size_t kInLine = 4;  // entries of an object that is written in one line

bool of_scalars(const json& value) {
  return std::ranges::all_of(value, [](const json& element) { return element.is_primitive(); });
}

std::string scalar_text(const json& value) {
  if (value.is_null()) return "-";
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_number_float()) return value.dump();
  const double x = value.get<double>();
  if (std::isnan(x)) return "-";  // JSON prints it as null
  return std::abs(x) >= 9999.5 && std::abs(x) < 1e15 ? fmt::format("{:.0f}", x) : fmt::format("{:.4g}", x);
}

std::string list_text(const json& list) {
  std::string text;
  for (size_t i = 0; i < std::min(list.size(), kShown); i++) {
    const json& element = list[i];
    text += (i == 0 ? "" : "  ") + (element.is_primitive() ? scalar_text(element) : json_text(element));
  }
  return list.size() <= kShown ? text : fmt::format("{}  … ({} in all)", text, list.size());
}

void append(std::string& text, const json& object, size_t indent) {
  size_t width = 0;
  for (const auto& [key, value] : object.items()) width = std::max(width, key.size());
  for (const auto& [key, value] : object.items()) {
    if (value.is_object() && (value.size() > kInLine || !of_scalars(value))) {
      text += fmt::format("{:{}}{}\n", "", indent, key);
      append(text, value, indent + 2);
      continue;
    }
    std::string entries;
    if (value.is_object())
      for (const auto& [name, element] : value.items())
        entries += fmt::format("{}{} {}", entries.empty() ? "" : "  ", name, scalar_text(element));
    else entries = value.is_array() ? list_text(value) : scalar_text(value);
    text += fmt::format("{:{}}{:<{}}  {}\n", "", indent, key, width, entries);
  }
}

}  // namespace

// mpirun gives its processes terminals of its own, even where it passes their output on to a file or a pipe.
bool stdout_is_terminal() { return isatty(STDOUT_FILENO) != 0 && !launched_with_others(); }

std::string readable_text(const json& object) {
  std::string text;
  append(text, object, 0);
  return text;
}

void print_result(const json& result) {
  if (stdout_is_terminal()) fmt::print("{}", readable_text(result));
  else fmt::print("{}\n", json_text(result));
}

void print_result_to_programs(const json& result) {
  if (!stdout_is_terminal() || isatty(STDERR_FILENO) == 0) fmt::print("{}\n", json_text(result));
}

}  // namespace fulcrum::apps
