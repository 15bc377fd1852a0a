// Prints the result of a command to stdout: a line of JSON for programs, aligned text on a terminal.
//
//   print_result({{"top1", 0.62}, {"per_class", {0.8, 0.4}}});
//
//   top1       0.62
//   per_class  0.8  0.4
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

namespace fulcrum::apps {

/// Whether stdout is a terminal and this process was started alone, not by mpirun or srun.
bool stdout_is_terminal();

void print_result(const nlohmann::json& result);

/// For results that the command has already printed to stderr as a table: prints nothing if both streams are terminals.
void print_result_to_programs(const nlohmann::json& result);

/// An object as text: a line for each key, larger objects in it indented, "-" for null, the first ten elements of a
/// list.
std::string readable_text(const nlohmann::json& object);

}  // namespace fulcrum::apps
