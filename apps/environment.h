// Where a run was made: versions, machine, command. Written as env.json, shown by `fulcrum info`.
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

namespace fulcrum::apps {

/// "0.1.0".
std::string version();
/// {"fulcrum", "git_commit", "compiler", "build_type", "devices", "isa", "threads", "processes", "mpi", "host", "system",
/// "command", "started"}.
nlohmann::json environment(int threads);
/// Keeps main's arguments for environment().
void remember_command(int argc, char** argv);

}  // namespace fulcrum::apps
