#include "apps/report/charts.h"

#include <algorithm>

#include <fmt/format.h>

#include "apps/report/text.h"

namespace fulcrum::apps {

namespace {

constexpr double kAbsentX = std::numeric_limits<double>::quiet_NaN();
constexpr size_t kMostVertices = 500;  // of a line
constexpr size_t kMostTooltips = 600;  // of a chart

bool drawable(const Point& p, const LineChart& chart) {
  return std::isfinite(p.x) && std::isfinite(p.y) && (!chart.x.log || p.x > 0) && (!chart.y.log || p.y > 0);
}

// The points that can be drawn, thinned out; keeps the last.
std::vector<Point> thinned(const std::vector<Point>& points, const LineChart& chart) {
  std::vector<Point> kept;
  const size_t step = (points.size() + kMostVertices - 1) / kMostVertices;
  for (size_t i = 0; i < points.size(); i++)
    if (drawable(points[i], chart) && (i % step == 0 || i + 1 == points.size())) kept.push_back(points[i]);
  return kept;
}

std::string polyline(const Frame& f, const Series& s) {
  std::string out =
      fmt::format("<polyline class=\"line{}\" style=\"--c:{}\" points=\"", s.dashed ? " dashed" : "", s.colour);
  for (const Point& p : s.points) out += fmt::format("{:.1f},{:.1f} ", f.px(p.x), f.py(p.y));
  return out + "\"/>";
}

// Dots with tooltips: visible where they are few, else shown only when hovered over.
std::string dots(const Frame& f, const Series& s, size_t step) {
  const bool visible = s.points.size() <= 40;
  std::string out = fmt::format("<g class=\"{}\" style=\"--c:{}\">", visible ? "dots" : "hits", s.colour);
  for (size_t i = 0; i < s.points.size(); i++)
    if (visible || i % step == 0 || i + 1 == s.points.size())
      out += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{}\">{}</circle>", f.px(s.points[i].x),
                         f.py(s.points[i].y), visible ? 2.6 : 5.0, tooltip(s.points[i].title));
  return out + "</g>";
}

std::string end_labels(const Frame& f, const std::vector<Series>& series) {
  std::vector<double> ys;
  for (const Series& s : series) ys.push_back(f.py(s.points.back().y) + 4);
  spread(ys, kLineHeight, f.top + 2, f.bottom + 4);
  std::string out = "<g class=\"direct\">";
  for (size_t i = 0; i < series.size(); i++)
    out += text_svg(f.right + 8, ys[i], "start", series[i].name, fmt::format("style=\"--c:{}\"", series[i].colour));
  return out + "</g>";
}

// The marks of a row at height y.
std::string row_marks(const RowChart& chart, const RowChart::Row& row, const Frame& f, double y) {
  std::vector<double> xs;
  for (const double v : row.values) xs.push_back(std::isfinite(v) && (!chart.x.log || v > 0) ? f.px(v) : kAbsentX);
  Range drawn;
  for (const double x : xs) drawn.add(x);
  if (drawn.empty()) return {};
  if (xs.size() == 1 && chart.colours.empty())
    return fmt::format("<path class=\"bar\" d=\"M{:.1f} {:.1f}H{:.1f}\"/>", f.left, y, xs[0]) +
           text_svg(xs[0] + 6, y + 4, "start", decimal(row.values[0], 1));
  std::string out = fmt::format("<path class=\"join\" d=\"M{:.1f} {:.1f}H{:.1f}\"/>", drawn.low, y, drawn.high);
  for (size_t k = 0; k < xs.size(); k++) {
    if (!std::isfinite(xs[k])) continue;
    const std::string look = chart.colours.empty() ? (k == 0 ? "class=\"from\"" : "class=\"to\"")
                                                   : fmt::format("style=\"fill:{}\"", chart.colours[k]);
    // Smaller and smaller, so that equal values stay visible.
    const double r = chart.colours.empty() ? 4.5 : 6 - 3 * static_cast<double>(k) / static_cast<double>(xs.size());
    out += fmt::format("<circle {} cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{:.1f}\"/>", look, xs[k], y, r);
  }
  return out;
}

}  // namespace

std::string line_chart(const LineChart& chart) {
  std::vector<Series> series;
  Range x, y = chart.include;
  double label_width = 0;
  size_t total = 0;
  for (Series s : chart.series) {
    s.points = thinned(s.points, chart);
    if (s.points.empty()) continue;
    for (const Point& p : s.points) x.add(p.x), y.add(p.y);
    if (chart.labels) label_width = std::max(label_width, 1.3 * text_width(s.name, kFontSize) + 10);
    total += s.points.size();
    series.push_back(std::move(s));
  }
  if (series.empty()) return {};
  if (chart.reference) y.add(*chart.reference);
  Frame f{.x = make_axis(x, chart.x), .y = make_axis(y, chart.y)};
  if (chart.wide) f.width = 760, f.height = 380, f.bottom = 340;
  f.fit(label_width);
  std::string out = open_svg(f.width, f.height, chart.description);
  out += frame_svg(f, chart.x_name, chart.y_name);
  if (chart.reference)
    out +=
        fmt::format("<path class=\"reference\" d=\"M{:.1f} {:.1f}H{:.1f}\"/>", f.left, f.py(*chart.reference), f.right);
  for (const Series& s : series) out += polyline(f, s);
  for (const Series& s : series) out += dots(f, s, (total + kMostTooltips - 1) / kMostTooltips);
  if (chart.labels) out += end_labels(f, series);
  return out + "</svg>";
}

std::string scatter_chart(const ScatterChart& chart) {
  Range x, y;
  for (const Mark& m : chart.marks) x.add(m.x), y.add(m.y);
  if (x.empty() || y.empty()) return {};
  Frame f{.x = make_axis(x, chart.x), .y = make_axis(y, chart.y)};
  f.fit(0);
  std::string out = open_svg(f.width, f.height, chart.description);
  out += frame_svg(f, chart.x_name, chart.y_name);
  out += fmt::format("<g class=\"{}\">", chart.small ? "marks small" : "marks");
  LabelPlacer placer({f.left, 12, f.width - 2, f.bottom - 2});
  const double r = chart.small ? 2.2 : 4;
  for (const bool cross : {false, true})  // crosses on top
    for (const Mark& m : chart.marks) {
      if (m.cross != cross || !std::isfinite(m.x) || !std::isfinite(m.y)) continue;
      const double px = f.px(m.x), py = f.py(m.y);
      placer.block({px - r - 1, py - r - 1, px + r + 1, py + r + 1});
      out += cross
                 ? fmt::format("<path class=\"cross\" d=\"M{:.1f} {:.1f}l5 5m0 -5l-5 5\">{}</path>", px - 2.5, py - 2.5,
                               tooltip(m.title))
                 : fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{}\">{}</circle>", px, py, r, tooltip(m.title));
    }
  out += "</g><g class=\"labels\">";
  for (const Mark& m : chart.marks)
    if (!m.label.empty()) out += placer.place(f.px(m.x), f.py(m.y), m.label);
  return out + "</g></svg>";
}

std::string row_chart(const RowChart& chart) {
  Range x;
  double name_width = 0;
  for (const auto& row : chart.rows) {
    if (row.values.size() == 1 && chart.colours.empty()) x.add(0);
    for (const double v : row.values)
      if (!chart.x.log || v > 0) x.add(v);
    name_width = std::max(name_width, text_width(clipped(row.name, 18), kFontSize));
  }
  if (x.empty()) return {};
  constexpr double kRow = 22;
  Frame f;
  f.x = make_axis(x, chart.x);
  f.left = name_width + 12, f.right = f.width - 44, f.top = 8;
  f.bottom = f.top + kRow * static_cast<double>(chart.rows.size());
  f.height = f.bottom + 42;
  std::string out = open_svg(f.width, f.height, chart.description) + "<g class=\"grid\">";
  for (const Tick& t : f.x.ticks)
    out += fmt::format("<path d=\"M{:.1f} {:.1f}V{:.1f}\"/>", f.px(t.value), f.top, f.bottom);
  out += "</g>" + frame_svg(f, chart.x_name, "") + "<g class=\"rows\">";
  for (size_t i = 0; i < chart.rows.size(); i++) {
    const auto& row = chart.rows[i];
    const double y = f.top + kRow * (static_cast<double>(i) + 0.5);
    out += "<g>" + tooltip(row.title) + text_svg(f.left - 8, y + 4, "end", clipped(row.name, 18));
    out += row_marks(chart, row, f, y) + "</g>";
  }
  return out + "</g></svg>";
}

}  // namespace fulcrum::apps
