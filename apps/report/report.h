// The report of a run, or of several side by side: one HTML file that needs nothing else.
//
//   write_report({"runs/absgd"}, "runs/absgd/report.html");
//   write_report({"runs/sgd-0", "runs/sgd-1", "runs/absgd-0"}, "comparison.html");
//
// Reads what docs/recipes.md lists as the run directory; whatever a run lacks (but for config.toml
// and metrics.jsonl) is left out of its report, with a word why. A malformed file is an Error that
// names it, and its line where it has lines.
#pragma once

#include <filesystem>
#include <vector>

namespace fulcrum::apps {

/// Reads the run directories and writes the page, atomically.
void write_report(const std::vector<std::filesystem::path>& runs, const std::filesystem::path& output);

}  // namespace fulcrum::apps
