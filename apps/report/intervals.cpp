#include <cmath>

#include <fmt/format.h>

#include "apps/report/charts.h"
#include "apps/report/text.h"

namespace fulcrum::apps {

namespace {

std::string mark_svg(const IntervalChart::Mark& m, const Frame& f, double y) {
  if (!std::isfinite(m.value)) return {};
  const double x = f.px(m.value);
  std::string out = fmt::format("<g style=\"--c:{}\">{}", m.colour, tooltip(m.title));
  if (std::isfinite(m.half) && m.half > 0)
    out += fmt::format("<path class=\"whisker\" d=\"M{:.1f} {:.1f}H{:.1f}M{:.1f} {:.1f}v6M{:.1f} {:.1f}v6\"/>",
                       f.px(m.value - m.half), y, f.px(m.value + m.half), f.px(m.value - m.half), y - 3,
                       f.px(m.value + m.half), y - 3);
  if (m.kind == "cross")
    out += fmt::format("<path class=\"mark-cross\" d=\"M{:.1f} {:.1f}l8 8m0 -8l-8 8\"/>", x - 4, y - 4);
  else
    out += fmt::format("<circle class=\"{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4\"/>",
                       m.kind == "ring" ? "ring" : "plain", x, y);
  return out + "</g>";
}

}  // namespace

std::string interval_chart(const IntervalChart& chart) {
  constexpr double kRow = 24;
  constexpr size_t kColumns = 32;
  Range x;
  double name_width = 0;
  for (const auto& row : chart.rows) {
    name_width = std::max(name_width, text_width(clipped(row.name, kColumns), kFontSize));
    for (const auto& m : row.marks) {
      const double half = std::isfinite(m.half) ? m.half : 0;
      x.add(m.value - half), x.add(m.value + half);
    }
  }
  if (x.empty()) return {};
  Frame f;
  f.x = make_axis(x, chart.x);
  f.width = 760;
  f.left = name_width + 14, f.right = f.width - 16, f.top = 8;
  f.bottom = f.top + kRow * static_cast<double>(chart.rows.size());
  f.height = f.bottom + 42;
  std::string out = open_svg(f.width, f.height, chart.description) + "<g class=\"grid\">";
  for (const Tick& t : f.x.ticks)
    out += fmt::format("<path d=\"M{:.1f} {:.1f}V{:.1f}\"/>", f.px(t.value), f.top, f.bottom);
  out += "</g>" + frame_svg(f, chart.x_name, "");
  for (size_t i = 0; i < chart.rows.size(); i++) {
    const auto& row = chart.rows[i];
    const double y = f.top + kRow * (static_cast<double>(i) + 0.5);
    out += text_svg(f.left - 8, y + 4, "end", clipped(row.name, kColumns));
    for (const auto& m : row.marks) out += mark_svg(m, f, y);
  }
  return out + "</svg>";
}

}  // namespace fulcrum::apps
