// The command line as data: what --help, the manual page and the completions of shells are made of.
//
//   const CommandDoc fulcrum = describe(app);
//   fulcrum.children[0].options[3].names;         // {"-b", "--batch-size"}
//   std::string page = man_page(fulcrum, "0.1.0");
//   std::string script = completion(fulcrum, "bash");
//
// All of it is read from the CLI11 app, so that it cannot go stale.
#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace fulcrum::apps {

struct OptionDoc {
  std::vector<std::string> names;  // with their dashes, short ones first; of a positional, one word
  std::string help, group;
  bool positional = false, takes_value = false, required = false, many = false;
  std::vector<std::string> choices;  // where only these values are taken, or are known
};

struct CommandDoc {
  std::string name, help, footer;
  std::vector<OptionDoc> options;
  std::vector<CommandDoc> children;
};

CommandDoc describe(const CLI::App& app);

/// roff with the macros of man(7). Settings, which many commands take, are described once.
std::string man_page(const CommandDoc& program, const std::string& version);

/// `shell` is bash, zsh or fish.
std::string completion(const CommandDoc& program, const std::string& shell);

}  // namespace fulcrum::apps
