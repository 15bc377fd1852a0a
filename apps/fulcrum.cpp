// The program. Exit codes: 0 done, 1 failed, 2 usage, 3 non-finite numbers, 130/143 stopped.
#include <cstdio>

#include <CLI/CLI.hpp>

#include "apps/commands.h"
#include "apps/trainer.h"

int main(int argc, char** argv) {
  using namespace fulcrum::apps;
  CLI::App app("Deep learning in which every sample of a batch carries its own weight", "fulcrum");
  app.require_subcommand(1);
  app.set_version_flag("--version", FULCRUM_VERSION);
  Command command;
  add_train_command(app, command);
  add_eval_command(app, command);
  add_bench_command(app, command);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? kExitDone : kExitUsage;
  }
  try {
    return command();
  } catch (const UsageError& e) {
    std::fprintf(stderr, "error: %s\n", e.what());
    return kExitUsage;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "error: %s\n", e.what());
    return kExitFailed;
  }
}
