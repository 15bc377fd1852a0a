#include "apps/help.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <sstream>

namespace fulcrum::apps {

namespace {

// The width of stdout in columns; unlimited if it is not a terminal.
size_t columns() {
  winsize size{};
  return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : std::string::npos;
}

}  // namespace

std::string HelpFormatter::entry(const std::string& name, const std::string& text) const {
  const size_t start = get_column_width(), width = columns();
  std::string out = "  " + name;
  out += out.size() + 1 < start ? std::string(start - out.size(), ' ') : "\n" + std::string(start, ' ');
  size_t at = start;
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    if (at > start && at + 1 + word.size() > width) {
      out += "\n" + std::string(start, ' ');
      at = start;
    }
    out += (at > start ? " " : "") + word;
    at += (at > start ? 1 : 0) + word.size();
  }
  return out + "\n";
}

std::string HelpFormatter::make_option(const CLI::Option* option, bool is_positional) const {
  return entry(make_option_name(option, is_positional) + make_option_opts(option), make_option_desc(option));
}

std::string HelpFormatter::make_subcommand(const CLI::App* app) const {
  return entry(app->get_display_name(true), app->get_description());
}

}  // namespace fulcrum::apps
