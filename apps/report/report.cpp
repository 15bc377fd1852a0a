#include "apps/report/report.h"

#include <map>

#include <fulcrum/core/serialize.h>

#include "apps/report/page.h"
#include "apps/report/sections.h"

namespace fulcrum::apps {

namespace {

// Distinguishes runs of the same name by their paths.
void name_apart(std::vector<RunData>& runs) {
  std::map<std::string, int> uses;
  for (const RunData& r : runs) uses[r.name]++;
  for (RunData& r : runs)
    if (uses[r.name] > 1) r.name = r.directory.string();
}

std::string single(const RunData& run) {
  return run_header(run) + results_section(run) + course_section(run) + weights_section(run) + classes_section(run) +
         samples_section(run) + settings_section(run);
}

}  // namespace

void write_report(const std::vector<std::filesystem::path>& directories, const std::filesystem::path& output) {
  check(!directories.empty(), "[report] expected at least one run directory");
  std::vector<RunData> runs;
  for (const auto& directory : directories) {
    runs.push_back(read_run(directory));
    // A comparison does not show single samples, and the data of many runs may be large.
    if (directories.size() > 1) runs.back().samples.reset(), runs.back().predictions.reset();
  }
  name_apart(runs);
  std::string body = runs.size() == 1 ? single(runs[0]) : comparison(runs);
  body +=
      "<footer>Written by fulcrum report. docs/reading-the-report.md says how to read "
      "it.</footer>\n";
  const std::string title = runs.size() == 1 ? runs[0].name + " – Fulcrum report" : "Fulcrum: comparison of runs";
  write_file_atomically(output, {page(title, body)});
}

}  // namespace fulcrum::apps
