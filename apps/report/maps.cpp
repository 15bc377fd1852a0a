// Values over two settings, and distributions over time.
#include <algorithm>
#include <cmath>
#include <map>

#include <fmt/format.h>

#include "apps/report/charts.h"
#include "apps/report/text.h"

namespace fulcrum::apps {

namespace {

constexpr double kRowHeight = 34;
constexpr size_t kMostOfRow = 28;  // characters

// The opacity, from faint to full; medium for all if the values are equal.
double shade(double v, const Range& range) {
  return range.high > range.low ? 0.12 + 0.88 * (v - range.low) / (range.high - range.low) : 0.5;
}

struct MapLayout {
  double left, top, cell;
};

std::string map_cell(const ValueMap& map, const MapLayout& l, const Range& range, size_t r, size_t c) {
  const double v = map.values[r][c];
  const double x = l.left + l.cell * static_cast<double>(c), y = l.top + kRowHeight * static_cast<double>(r);
  if (!std::isfinite(v)) return text_svg(x + l.cell / 2, y + kRowHeight / 2 + 4, "middle", kUndefined);
  const double opacity = shade(v, range);
  std::string out =
      fmt::format("<g><rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill-opacity=\"{:.2f}\"/>",
                  x + 1, y + 1, l.cell - 2, kRowHeight - 2, opacity);
  out += tooltip(map.titles[r][c]) +
         text_svg(x + l.cell / 2, y + kRowHeight / 2 + 4, "middle", decimal(v, map.decimals),
                  opacity > 0.8 ? "class=\"on\"" : "") +
         "</g>";
  if (map.outlined && *map.outlined == std::pair(r, c))
    out += fmt::format("<rect class=\"outline\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\"/>",
                       x + 1.5, y + 1.5, l.cell - 3, kRowHeight - 3);
  return out;
}

}  // namespace

std::string value_map(const ValueMap& map) {
  Range range;
  for (const auto& row : map.values)
    for (const double v : row) range.add(v);
  if (range.empty()) return {};
  double names = text_width(map.y_name, kFontSize);
  // Clipped names are complete in the tooltips of the cells.
  const auto row_name = [&](size_t r) { return clipped(map.rows[r], kMostOfRow); };
  for (size_t r = 0; r < map.rows.size(); r++) names = std::max(names, text_width(row_name(r), kFontSize));
  const auto columns = static_cast<double>(map.columns.size()), rows = static_cast<double>(map.rows.size());
  const MapLayout l{names + 14, 26, std::clamp((760 - names - 24) / columns, 44.0, 90.0)};
  const double width = l.left + l.cell * columns + 4, height = l.top + kRowHeight * rows + 42;
  std::string out = open_svg(std::max(width, 760.0), height, map.description) + "<g class=\"names\">";
  out += text_svg(l.left - 8, l.top - 9, "end", map.y_name);
  for (size_t r = 0; r < map.rows.size(); r++)
    out += text_svg(l.left - 8, l.top + kRowHeight * (static_cast<double>(r) + 0.5) + 4, "end", row_name(r));
  const auto fits = static_cast<size_t>(l.cell / (0.6 * kFontSize));
  for (size_t c = 0; c < map.columns.size(); c++)
    out += text_svg(l.left + l.cell * (static_cast<double>(c) + 0.5), l.top + kRowHeight * rows + 16, "middle",
                    clipped(map.columns[c], fits));
  out += text_svg(l.left + l.cell * columns / 2, l.top + kRowHeight * rows + 34, "middle", map.x_name);
  out += "</g><g class=\"map\">";
  for (size_t r = 0; r < map.rows.size(); r++)
    for (size_t c = 0; c < map.columns.size(); c++) out += map_cell(map, l, range, r, c);
  return out + "</g></svg>";
}

std::string strip_chart(const StripChart& chart) {
  constexpr size_t kMostColumns = 120;
  constexpr int kLevels = 12;
  if (chart.x.empty()) return {};
  // The range of bins that hold something in any column.
  size_t first = chart.edges.size(), last = 0;
  double most = 0;
  for (const auto& column : chart.shares)
    for (size_t b = 0; b < column.size(); b++) {
      if (!(column[b] > 0)) continue;
      first = std::min(first, b), last = std::max(last, b + 1);
      most = std::max(most, column[b]);
    }
  if (first >= last) return {};
  const size_t step = (chart.x.size() + kMostColumns - 1) / kMostColumns;
  const double gap = chart.x.size() > 1 ? (chart.x[1] - chart.x[0]) * static_cast<double>(step) : 1;
  Frame f{.x = {}, .y = {}};
  f.x.low = chart.x.front() - gap / 2, f.x.high = chart.x.back() + gap / 2;
  f.x.ticks = make_axis({chart.x.front(), chart.x.back()}, {.whole = true, .snap = false}).ticks;
  std::erase_if(f.x.ticks, [&](const Tick& t) { return t.value < f.x.low || t.value > f.x.high; });
  f.y = make_axis({chart.edges[first], chart.edges[last]}, {.log = true, .snap = false});
  f.fit(0);
  std::map<int, std::string> paths;  // by darkness
  for (size_t i = 0; i < chart.x.size(); i += step)
    for (size_t b = first; b < last; b++) {
      // The square root makes rare values visible, which are of interest.
      const double share = chart.shares[i][b];
      const int level = share > 0 ? std::max(1, static_cast<int>(std::lround(kLevels * std::sqrt(share / most)))) : 0;
      if (level == 0) continue;
      const double left = std::max(f.left, f.px(chart.x[i] - gap / 2)),
                   right = std::min(f.right, f.px(chart.x[i] + gap / 2));
      const double low = f.py(chart.edges[b]), high = f.py(chart.edges[b + 1]);
      paths[level] +=
          fmt::format("M{:.1f} {:.1f}h{:.1f}v{:.1f}h{:.1f}z", left, high, right - left, low - high, left - right);
    }
  std::string out = open_svg(f.width, f.height, chart.description) + frame_svg(f, chart.x_name, chart.y_name);
  out += fmt::format("<g class=\"strip\" style=\"--c:{}\">", chart.colour);
  for (const auto& [level, path] : paths)
    out += fmt::format("<path fill-opacity=\"{:.2f}\" d=\"{}\"/>", static_cast<double>(level) / kLevels, path);
  out += "</g>";
  if (chart.reference && *chart.reference > chart.edges[first] && *chart.reference < chart.edges[last])
    out +=
        fmt::format("<path class=\"reference\" d=\"M{:.1f} {:.1f}H{:.1f}\"/>", f.left, f.py(*chart.reference), f.right);
  return out + "</svg>";
}

}  // namespace fulcrum::apps
