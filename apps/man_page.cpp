// fulcrum man: the manual page.
#include <algorithm>

#include <fmt/format.h>

#include "apps/command_line.h"

namespace fulcrum::apps {

namespace {

bool is_setting(const OptionDoc& option) { return option.group.starts_with("Settings"); }

// Escapes text for roff: dashes stay dashes, and no line begins like a request.
std::string roff(const std::string& text) {
  std::string out;
  bool line_starts = true;
  for (const char c : text) {
    if (line_starts && (c == '.' || c == '\'')) out += "\\&";
    if (c == '\\') out += "\\e";
    else if (c == '-') out += "\\-";
    else out += c;
    line_starts = c == '\n';
  }
  return out;
}

std::string bold(const std::string& text) { return "\\fB" + roff(text) + "\\fR"; }

std::string value_of(const OptionDoc& option) {
  return option.takes_value && !option.positional ? " \\fIVALUE\\fR" : "";
}

std::string entry(const OptionDoc& option) {
  std::string names;
  for (const std::string& name : option.names) names += (names.empty() ? "" : ", ") + bold(name);
  std::string text = ".TP\n" + names + value_of(option) + "\n" + roff(option.help);
  if (!option.choices.empty()) text += "; " + roff(fmt::format("one of {}", fmt::join(option.choices, ", ")));
  return text + ".\n";
}

std::string synopsis(const std::string& path, const CommandDoc& command) {
  std::string line = bold(path);
  for (const OptionDoc& o : command.options)
    if (o.positional)
      line += (o.required ? " \\fI" : " [\\fI") + roff(o.names[0]) + (o.required ? "\\fR" : "\\fR]") +
              (o.many ? " ..." : "");
    else if (o.required) line += " " + bold(o.names.back()) + value_of(o);
  return line + " [\\fIoptions\\fR]\n";
}

void add_command(std::string& page, const std::string& path, const CommandDoc& command) {
  page += ".SS " + roff(path) + "\n" + roff(command.help) + ".\n";
  if (command.children.empty()) page += ".PP\n" + synopsis(path, command);
  bool settings = false;
  for (const OptionDoc& o : command.options) {
    if (is_setting(o)) settings = true;
    else if (o.names.back() != "--help") page += entry(o);
  }
  if (settings) page += ".PP\nTakes settings, described below.\n";
  if (!command.footer.empty()) page += ".PP\n.nf\n" + roff(command.footer) + "\n.fi\n";
  for (const CommandDoc& child : command.children) add_command(page, path + " " + child.name, child);
}

const CommandDoc* find(const CommandDoc& program, const std::string& name) {
  for (const CommandDoc& child : program.children)
    if (child.name == name) return &child;
  return nullptr;
}

constexpr const char* kEnd = R"(.SH ENVIRONMENT
.TP
.B FULCRUM_DATA_DIR, FULCRUM_OUTPUT, FULCRUM_DEVICE, FULCRUM_THREADS
Set data.dir, train.output, train.device and train.threads. They override a recipe; flags override them.
.TP
.B OMP_WAIT_POLICY, GOMP_SPINCOUNT
How long threads spin while they wait for each other. If neither is set, the program sets GOMP_SPINCOUNT.
.TP
.B NO_COLOR
If set, output is not coloured.
.SH EXIT STATUS
.TP
.B 0
Done.
.TP
.B 1
Failed: a file, memory, the disk.
.TP
.B 2
The command line, a recipe or a setting is wrong.
.TP
.B 3
A loss or gradient was not finite; the last good weights are saved. For eval: logits were not finite.
.TP
.B 129, 130, 143
Stopped by SIGHUP, Ctrl\-C or SIGTERM after a checkpoint.
.SH SEE ALSO
Documents in share/doc/fulcrum/docs: getting\-started.md, recipes.md (every setting), errors.md.
)";

}  // namespace

std::string man_page(const CommandDoc& program, const std::string& version) {
  std::string page =
      ".TH FULCRUM 1 \"\" \"Fulcrum " + version + "\" \"User Commands\"\n.nh\n.ad l\n.SH NAME\nfulcrum \\- " +
      roff(program.help) +
      "\n"
      ".SH SYNOPSIS\n"
      ".B fulcrum\n"
      "\\fICOMMAND\\fR [\\fIoptions\\fR]\n"
      ".SH DESCRIPTION\n"
      "Trains networks whose samples are weighted by a risk such as ABSGD's, evaluates them, and reports on them.\n"
      "Progress goes to standard error, results as JSON to standard output.\n"
      ".SH COMMANDS\n";
  for (const CommandDoc& child : program.children) add_command(page, child.name, child);
  page +=
      ".SH SETTINGS\n"
      "Every setting has a key, shown in brackets, for recipes and for \\fB\\-\\-set\\fR \\fIkey=value\\fR.\n";
  if (const CommandDoc* train = find(program, "train"))
    for (const OptionDoc& o : train->options)
      if (is_setting(o)) page += entry(o);
  return page + kEnd;
}

}  // namespace fulcrum::apps
