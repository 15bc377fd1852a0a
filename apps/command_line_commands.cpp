// fulcrum completion, fulcrum man
#include <memory>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "apps/command_line.h"
#include "apps/commands.h"
#include "apps/environment.h"
#include "apps/exit_codes.h"

namespace fulcrum::apps {

void add_completion_command(CLI::App& app, Command& command) {
  CLI::App* sub = app.add_subcommand("completion", "Print the completion script of a shell");
  sub->footer(
      "bash: source <(fulcrum completion bash)\n"
      "zsh:  source <(fulcrum completion zsh), after compinit\n"
      "fish: fulcrum completion fish | source\n"
      "An installed Fulcrum has these scripts where the shells look for them.");
  auto shell = std::make_shared<std::string>();
  sub->add_option("shell", *shell, "bash, zsh or fish")->required()->check(CLI::IsMember({"bash", "zsh", "fish"}));
  sub->callback([shell, &app, &command] {
    command = [shell, &app] {
      fmt::print("{}", completion(describe(app), *shell));
      return kExitDone;
    };
  });
}

void add_man_command(CLI::App& app, Command& command) {
  CLI::App* sub = app.add_subcommand("man", "Print the manual page, in roff");
  sub->footer("Example: fulcrum man | man -l -");
  sub->callback([&app, &command] {
    command = [&app] {
      fmt::print("{}", man_page(describe(app), version()));
      return kExitDone;
    };
  });
}

}  // namespace fulcrum::apps
