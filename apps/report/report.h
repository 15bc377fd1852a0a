// The report of a run, or of several side by side: one self-contained HTML file.
//
//   write_report({"runs/absgd"}, "runs/absgd/report.html");
//   write_report({"runs/sgd-0", "runs/sgd-1", "runs/absgd-0"}, "comparison.html");
//
// Reads the files that docs/recipes.md lists for a run directory. What a run lacks (except config.toml and
// metrics.jsonl, which are required) is left out of its report, with a note that says why. Throws Error, which names
// the file and, if it has lines, the line, if a file is malformed.
#pragma once

#include <filesystem>
#include <vector>

namespace fulcrum::apps {

/// Reads the run directories and writes the page, atomically.
void write_report(const std::vector<std::filesystem::path>& runs, const std::filesystem::path& output);

}  // namespace fulcrum::apps
