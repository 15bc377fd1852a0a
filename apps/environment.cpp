#include "apps/environment.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <ctime>
#include <vector>

#include <nlohmann/json.hpp>

#include <fulcrum/core/backends.h>
#include <fulcrum/core/check.h>
#include <fulcrum/core/mpi/communicator.h>

#include "apps/world.h"

namespace fulcrum::apps {

namespace {

std::vector<std::string>& command() {
  static std::vector<std::string> words;
  return words;
}

std::string now() {
  char text[32];
  const std::time_t t = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&t, &utc);
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text;
}

}  // namespace

std::string version() { return FULCRUM_VERSION; }

void remember_command(int argc, char** argv) { command().assign(argv, argv + argc); }

nlohmann::json environment(int threads) {
  utsname system{};
  uname(&system);
  nlohmann::json devices = nlohmann::json::object();
  for (const Backend& b : backends()) devices[concat_text(b.device)] = b.description;
  return {{"fulcrum", version()},
          {"git_commit", FULCRUM_GIT_COMMIT},
          {"compiler", FULCRUM_COMPILER},
          {"build_type", FULCRUM_BUILD_TYPE},
          {"devices", devices},
          {"isa", cpu_isa()},
          {"threads", threads},
          {"processes", world().size()},
          {"mpi", mpi::describe()},
          {"host", system.nodename},
          {"system", concat_text(system.sysname, " ", system.release, " ", system.machine)},
          {"command", command()},
          {"started", now()}};
}

}  // namespace fulcrum::apps
