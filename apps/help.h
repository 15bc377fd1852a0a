// HelpFormatter: wraps --help to the width of the terminal at spaces. CLI11's own lines break at the terminal's edge.
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
