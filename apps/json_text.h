// JSON to text, and numbers from JSON. Bytes that are not UTF-8 (folder names may have any) become U+FFFD.
//
//   fmt::print("{}\n", json_text(result));
#pragma once

#include <limits>
#include <string>

#include <nlohmann/json.hpp>

namespace fulcrum::apps {

/// On one line, or indented.
inline std::string json_text(const nlohmann::json& json, int indent = -1) {
  return json.dump(indent, ' ', false, nlohmann::json::error_handler_t::replace);
}

/// The number under `key`; NaN if it is missing or null, which is how JSON holds NaN.
inline double number_in(const nlohmann::json& row, const std::string& key) {
  const auto found = row.find(key);
  return found != row.end() && found->is_number() ? found->get<double>() : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace fulcrum::apps
