// The page around the charts: figures, tables, sections, the style sheet.
//
//   std::string body = section("Results", "results", table({{"Metric", "%"}, {{"Top-1", "87.31"}}}) +
//                              figures({figure({"Accuracy", svg, "Each epoch."})}));
//   std::string html = page("runs/absgd", body);
//
// Escapes all texts, except for parameters and members called html or svg.
#pragma once

#include <string>
#include <vector>

namespace fulcrum::apps {

struct LegendEntry {
  std::string name;
  std::string colour;         // a CSS value
  std::string kind = "line";  // line, dashed, dot or cross
};

struct Figure {
  std::string title;
  std::string svg;  // html; if empty, so is the figure
  std::string caption;
  std::vector<LegendEntry> legend = {};
  bool wide = false;            // across all columns; scrolls on a phone instead of shrinking
  std::string aside_html = {};  // beside a wide figure
};
std::string figure(const Figure& figure);
/// Lays figures out in two columns where there is room; empty if there are none.
std::string figures(const std::vector<std::string>& html);

struct Table {
  std::vector<std::string> head;
  std::vector<std::vector<std::string>> rows = {};
  /// The number of columns, from the left, that are words; the others are numbers.
  size_t words = 1;
  /// Indices of rows that are set in bold, as summaries.
  std::vector<size_t> strong = {};
};
std::string table(const Table& table);

std::string section(const std::string& title, const std::string& id, const std::string& html);
std::string subheading(const std::string& title);
std::string paragraph(const std::string& text);
/// A remark, such as on what is left out and why.
std::string note(const std::string& text);
std::string details(const std::string& summary, const std::string& html);

/// The whole HTML file.
std::string page(const std::string& title, const std::string& body_html);

}  // namespace fulcrum::apps
