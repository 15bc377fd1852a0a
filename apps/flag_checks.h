// Checks of flags that are not settings, with messages that say what was expected.
//
//   sub->add_option("--seconds", seconds)->check(above_zero());
#pragma once

#include <string>

#include <CLI/CLI.hpp>

namespace fulcrum::apps {

inline CLI::Validator above_zero() {
  const auto check = [](std::string& text) {
    double value = 0;
    const bool good = CLI::detail::lexical_cast(text, value) && value > 0;
    return good ? std::string() : "expected a number above 0, got '" + text + "'";
  };
  return {check, ""};
}

/// Refuses an empty value, such as an unset shell variable leaves after a flag.
inline CLI::Validator not_empty() {
  return {[](std::string& text) { return std::string(text.empty() ? "expected a value, got nothing" : ""); }, ""};
}

}  // namespace fulcrum::apps
