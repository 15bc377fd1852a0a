#include <algorithm>
#include <numeric>

#include <fmt/format.h>

#include "apps/report/charts.h"
#include "apps/report/text.h"

namespace fulcrum::apps {

namespace {

constexpr const char* kTaken = "predicted →";
constexpr size_t kNumbered = 15;  // the most classes for which cells show their numbers

struct Layout {
  double cell, left, top, width, height;
  size_t columns;  // characters of a name
};

Layout layout_of(const HeatMap& map) {
  const auto n = static_cast<double>(map.names.size());
  Layout l{};
  l.columns = 16;
  double names = 0;
  for (const std::string& name : map.names) names = std::max(names, text_width(clipped(name, l.columns), kFontSize));
  l.left = std::max(names, text_width(kTaken, kFontSize)) + 22;
  l.cell = std::clamp((720 - l.left) / n, 15.0, 52.0);
  l.top = std::max(names * 0.72, 24.0) + 16;  // column names lean by 45 degrees
  l.width = l.left + l.cell * n + names * 0.72 + 4;
  l.height = l.top + l.cell * n + 6;
  return l;
}

// The opacity grows with the square root, since small shares are of interest.
double opacity(double share) { return std::sqrt(share); }

std::string cell_svg(const HeatMap& map, const Layout& l, size_t row, size_t column, double total) {
  const auto count = map.counts[row][column];
  if (count == 0) return {};
  const double share = static_cast<double>(count) / total;
  const double x = l.left + l.cell * static_cast<double>(column), y = l.top + l.cell * static_cast<double>(row);
  std::string out = fmt::format(
      "<g><rect class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" "
      "fill-opacity=\"{:.2f}\"/>{}",
      row == column ? "right" : "wrong", x + 0.5, y + 0.5, l.cell - 1, l.cell - 1, opacity(share),
      tooltip(fmt::format("{} predicted as {}: {} of {} ({} %)", map.names[row], map.names[column], count,
                          static_cast<int64_t>(total), percent(share, 1))));
  if (map.names.size() <= kNumbered && share >= 0.006)
    out += text_svg(x + l.cell / 2, y + l.cell / 2 + 4.5, "middle", percent(share, 0),
                    opacity(share) > 0.8 ? "class=\"on\"" : "");
  return out + "</g>";
}

}  // namespace

std::string heat_map(const HeatMap& map) {
  const Layout l = layout_of(map);
  std::string out = open_svg(l.width, l.height, map.description) + "<g class=\"names\">";
  out += text_svg(l.left - 8, l.top - 24, "end", kTaken);
  out += text_svg(l.left - 8, l.top - 7, "end", "true ↓");
  for (size_t i = 0; i < map.names.size(); i++) {
    const double at = l.cell * (static_cast<double>(i) + 0.5);
    const std::string name = clipped(map.names[i], l.columns);
    out += text_svg(l.left - 8, l.top + at + 4.5, "end", name);
    out += text_svg(0, 0, "start", name,
                    fmt::format("transform=\"translate({:.1f} {:.1f}) rotate(-45)\"", l.left + at + 2, l.top - 7));
  }
  out += fmt::format("</g><rect class=\"ground\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\"/>",
                     l.left, l.top, l.cell * static_cast<double>(map.names.size()),
                     l.cell * static_cast<double>(map.names.size()));
  out += "<g class=\"cells\">";
  for (size_t row = 0; row < map.names.size(); row++) {
    const auto& counts = map.counts[row];
    const auto total = static_cast<double>(std::accumulate(counts.begin(), counts.end(), int64_t{0}));
    for (size_t column = 0; column < counts.size(); column++) out += cell_svg(map, l, row, column, total);
  }
  return out + "</g></svg>";
}

}  // namespace fulcrum::apps
