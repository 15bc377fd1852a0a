// --help in lines that fit the terminal; CLI11's own go on to its edge and break there.
//
//   app.formatter(std::make_shared<HelpFormatter>());     // before the subcommands, which take it over
#pragma once

#include <CLI/CLI.hpp>

namespace fulcrum::apps {

class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_option(const CLI::Option* option, bool is_positional) const override;
  std::string make_subcommand(const CLI::App* app) const override;

 private:
  std::string entry(const std::string& name, const std::string& text) const;
};

}  // namespace fulcrum::apps
