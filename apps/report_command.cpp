// fulcrum report
#include <memory>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "apps/commands.h"
#include "apps/exit_codes.h"
#include "apps/report/report.h"

namespace fulcrum::apps {

namespace {

struct ReportFlags {
  std::vector<std::string> runs;
  std::string output;
};

int report(const ReportFlags& flags) {
  const std::vector<std::filesystem::path> runs(flags.runs.begin(), flags.runs.end());
  std::filesystem::path output = flags.output;
  if (output.empty()) output = runs.size() == 1 ? runs[0] / "report.html" : "report.html";
  write_report(runs, output);
  fmt::print("{}\n", output.string());
  return kExitDone;
}

}  // namespace

void add_report_command(CLI::App& app, Command& command) {
  CLI::App* sub = app.add_subcommand("report", "Write an HTML report of a run, or of several side by side");
  auto flags = std::make_shared<ReportFlags>();
  sub->add_option("runs", flags->runs, "run directories")->required();
  sub->add_option("-o,--output", flags->output,
                  "the file; by default RUN/report.html, or report.html for several runs");
  sub->callback([flags, &command] { command = [flags] { return report(*flags); }; });
}

}  // namespace fulcrum::apps
