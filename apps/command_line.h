// The command line as data, from which the manual page and the shell completions are made.
//
//   const CommandDoc fulcrum = describe(app);
//   fulcrum.children[0].options[3].names;         // {"-b", "--batch-size"}
//   std::string page = man_page(fulcrum, "0.1.0");
//   std::string script = completion(fulcrum, "bash");
//
// All of it is read from the CLI11 app, so that it cannot go out of date.
#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace fulcrum::apps {

struct OptionDoc {
  std::vector<std::string> names;  // with their dashes, short names first; a positional has one plain name
  std::string help, group;
  bool positional = false, takes_value = false, required = false, many = false;
  std::vector<std::string> choices;  // the values that are allowed or known; empty: any
};

struct CommandDoc {
  std::string name, help, footer;
  std::vector<OptionDoc> options;
  std::vector<CommandDoc> children;
};

CommandDoc describe(const CLI::App& app);

/// The manual page as roff with the man(7) macros. Settings, which many commands take, are described once.
std::string man_page(const CommandDoc& program, const std::string& version);

/// The completion script of `shell`: bash, zsh or fish.
std::string completion(const CommandDoc& program, const std::string& shell);

}  // namespace fulcrum::apps
