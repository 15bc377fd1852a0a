// What a command found, on stdout: a line of JSON for the program that reads it, aligned text for a person at a terminal.
//
//   print_result({{"top1", 0.62}, {"per_class", {0.8, 0.4}}});
//
//   top1       0.62
//   per_class  0.8  0.4
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

namespace fulcrum::apps {

/// Whether a person reads stdout of this one process.
bool stdout_is_terminal();

void print_result(const nlohmann::json& result);

/// For results that are on stderr already, as a table of the command's own: nothing where both are a terminal.
void print_result_to_programs(const nlohmann::json& result);

/// The text of an object: a line for each key, objects in it indented, "-" for null. Of a list the first ten.
std::string readable_text(const nlohmann::json& object);

}  // namespace fulcrum::apps
