// The program. Exit codes: 0 done, 1 failed, 2 usage, 3 non-finite numbers, 129/130/143 stopped.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include <CLI/CLI.hpp>

#include "apps/commands.h"
#include "apps/environment.h"
#include "apps/exit_codes.h"
#include "apps/help.h"
#include "apps/progress.h"
#include "apps/world.h"

namespace {

// Limits how long OpenMP's threads spin while they wait for each other. Without spinning a step on an idle machine is
// slower; with libgomp's default, milliseconds, it is several times slower as soon as another process wants a core.
// libgomp reads the limit when it is loaded, so the program sets it and starts itself again. A value that the user has
// set is kept.
void limit_spinning(char** argv) {
  if (std::getenv("OMP_WAIT_POLICY") || std::getenv("GOMP_SPINCOUNT")) return;
  setenv("GOMP_SPINCOUNT", "100000", 1);
  execv("/proc/self/exe", argv);  // if this fails, the run is correct, though perhaps slower
}

// Opens standard streams that are closed. Otherwise the next file to be opened would get the number of one, and
// messages with it.
void open_standard_streams() {
  for (int stream = 0; stream <= 2; stream++)
    if (::fcntl(stream, F_GETFD) < 0) ::open("/dev/null", stream == 0 ? O_RDONLY : O_WRONLY);
}

int failed(const std::exception& e, int code) {
  using namespace fulcrum::apps;
  if (speaks_of_failure(code))
    std::fprintf(stderr, "%s%s%s\n", red("error: ", STDERR_FILENO).c_str(), process_label().c_str(), e.what());
  return leave_world(code, /*failed=*/true);
}

// Whether the command has the flag, which may have a value behind it: --lr=0.1.
bool takes(const CLI::App& command, const std::string& flag) {
  return command.get_option_no_throw(flag.substr(0, flag.find('='))) != nullptr;
}

// Says what is wrong with the command line, and what may have been meant.
std::string complaint(const CLI::App& program, const CLI::ParseError& error) {
  const CLI::App* app = &program;
  std::string path = app->get_name();
  while (!app->get_subcommands().empty()) {
    app = app->get_subcommands().front();
    path += " " + app->get_name();
  }
  const std::vector<std::string> unknown = app->remaining();
  const bool flag = !unknown.empty() && unknown[0].starts_with('-');
  std::vector<std::string> known;
  if (flag) {
    for (const CLI::Option* option : app->get_options())
      for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
  } else {
    for (const CLI::App* child : app->get_subcommands([](const CLI::App*) { return true; }))
      known.push_back(child->get_name());
  }
  std::string text = path + ": " + error.what();
  if (!unknown.empty()) text = path + ": unexpected '" + unknown[0] + "'";
  if (flag && takes(*program.get_subcommand("train"), unknown[0]))
    return text + (app == &program ? "; did you mean 'fulcrum train " + unknown[0] + "'?"
                                   : ": it is a flag of fulcrum train, and would change nothing here");
  if (!unknown.empty() && !known.empty()) text += "; did you mean '" + fulcrum::apps::nearest(unknown[0], known) + "'?";
  return text + "\n" + path + " --help lists what there is";
}

}  // namespace

// Only running out of memory throws while an error message is put together; the program may then end as it does.
int main(int argc, char** argv) {
  using namespace fulcrum::apps;
  limit_spinning(argv);
  open_standard_streams();
  remember_command(argc, argv);
  CLI::App app("Deep learning in which every sample of a batch carries its own weight", "fulcrum");
  app.formatter(std::make_shared<HelpFormatter>());
  app.require_subcommand(1);
  app.set_version_flag("--version", version());
  Command command;
  add_train_command(app, command);
  add_eval_command(app, command);
  add_predict_command(app, command);
  add_export_command(app, command);
  add_lr_find_command(app, command);
  add_reproduce_command(app, command);
  add_sweep_command(app, command);
  add_bench_command(app, command);
  add_info_command(app, command);
  add_doctor_command(app, command);
  add_report_command(app, command);
  add_data_command(app, command);
  add_completion_command(app, command);
  add_man_command(app, command);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() != 0) return failed(std::runtime_error(complaint(app, e)), kExitUsage);
    if (first_process()) app.exit(e);  // --help, --version
    return leave_world(kExitDone, /*failed=*/false);
  }
  try {
    const std::string name = app.get_subcommands().front()->get_name();
    if (name != "train" && name != "eval" && name != "bench") require_one_process("fulcrum " + name);
    const int code = command();
    errno = 0;
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0)
      return failed(std::runtime_error(std::string("cannot write to stdout: ") + std::strerror(errno)), kExitFailed);
    return leave_world(code, /*failed=*/false);
  } catch (const fulcrum::PeerFailed& e) {
    return e.silent() ? leave_world(e.exit_code(), /*failed=*/true) : failed(e, e.exit_code());
  } catch (const UsageError& e) {
    return failed(e, kExitUsage);
  } catch (const std::filesystem::filesystem_error& e) {  // its own text speaks of a function of the library
    return failed(std::runtime_error(e.path1().string() + ": " + e.code().message()), kExitFailed);
  } catch (const std::exception& e) {
    return failed(e, kExitFailed);
  }
}
