// fulcrum report
#include <algorithm>
#include <filesystem>
#include <memory>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "apps/commands.h"
#include "apps/exit_codes.h"
#include "apps/ranges.h"
#include "apps/report/report.h"
#include "apps/run_directory.h"

namespace fulcrum::apps {

namespace {

struct ReportFlags {
  std::vector<std::string> runs;
  std::string output;
};

namespace fs = std::filesystem;

// The runs given, where a directory of runs, as --seeds and grids leave it, stands for those in it, in the order of
// their paths.
std::vector<fs::path> runs_in(const std::vector<std::string>& given) {
  std::vector<fs::path> all;
  for (const fs::path path : given) {
    const std::vector<fs::path> inside = runs_below(path);
    if (inside.empty()) all.push_back(path);  // its error will say what is missing
    all.insert(all.end(), inside.begin(), inside.end());
  }
  return all;
}

// Refuses to replace a file of a run, other than its report.html, by the page.
void refuse_files_of_runs(const fs::path& output, const std::vector<fs::path>& runs) {
  std::error_code ignored;
  for (const fs::path& run : runs)
    for (const auto& entry : fs::directory_iterator(run, ignored))
      if (entry.path().filename() != "report.html" && fs::equivalent(entry.path(), output, ignored))
        usage("--output: ", output.string(), " is a file of the run; expected another");
}

int report(const ReportFlags& flags) {
  const std::vector<fs::path> runs = runs_in(flags.runs);
  std::filesystem::path output = flags.output;
  if (output.empty()) output = runs.size() == 1 ? runs[0] / "report.html" : "report.html";
  refuse_files_of_runs(output, runs);
  write_report(runs, output);
  fmt::print("{}\n", output.string());
  return kExitDone;
}

}  // namespace

void add_report_command(CLI::App& app, Command& command) {
  CLI::App* sub = app.add_subcommand("report", "Write an HTML report of a run, or of several side by side");
  auto flags = std::make_shared<ReportFlags>();
  sub->add_option("runs", flags->runs, "run directories, or directories of runs")->required();
  sub->add_option("-o,--output", flags->output,
                  "the file; by default RUN/report.html, or report.html for several runs");
  sub->callback([flags, &command] { command = [flags] { return report(*flags); }; });
}

}  // namespace fulcrum::apps
