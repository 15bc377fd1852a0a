#include "apps/report/svg.h"

#include <algorithm>
#include <numeric>
#include <ranges>

#include <fmt/format.h>

#include "apps/report/text.h"

namespace fulcrum::apps {

namespace {

// A step of 1, 2 or 5 times a power of ten, of which about `count` make the span.
double nice_step(double span, int count) {
  const double raw = span / count, power = std::pow(10, std::floor(std::log10(raw)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (raw <= factor * power * 1.0001) return factor * power;
  return 10 * power;
}

std::string tick_text(double value, double step) {
  const double size = std::abs(value);
  if (size >= 1e6 || (size > 0 && size < 1e-3)) return significant(value, 3);
  if (size >= 1e4) return grouped(std::llround(value));
  return decimal(value, std::max(0, static_cast<int>(std::ceil(-std::log10(step) - 1e-6))));
}

std::vector<Tick> linear_ticks(double low, double high, double step) {
  constexpr int kMost = 50;  // a limit in case rounding goes wrong in an extreme range
  const double first = std::ceil(low / step - 1e-6);
  std::vector<Tick> ticks;
  for (int i = 0; i < kMost && (first + i) * step <= high + step * 1e-6; i++)
    ticks.push_back({(first + i) * step, tick_text((first + i) * step, step)});
  return ticks;
}

std::vector<Tick> log_ticks(double low, double high) {
  const double decades = std::log10(high / low);
  if (decades < 0.8) return linear_ticks(low, high, nice_step(high - low, 4));
  const std::vector<double> factors = decades < 1.6   ? std::vector<double>{1, 2, 5}
                                      : decades < 3.5 ? std::vector<double>{1, 3}
                                                      : std::vector<double>{1};
  const int every = std::max(1, static_cast<int>(decades / 6));
  std::vector<Tick> ticks;
  for (int e = static_cast<int>(std::floor(std::log10(low))); e <= std::log10(high) + 1e-9; e += every)
    for (const double f : factors) {
      const double v = f * std::pow(10, e);
      if (v < low * 0.9999 || v > high * 1.0001) continue;
      ticks.push_back({v, v >= 1e3 && v < 1e6 ? grouped(std::llround(v)) : significant(v, 3)});
    }
  return ticks;
}

// Clamps the range to numbers that can be divided and squared, and widens it if it holds one value, or several that
// differ by rounding.
Range widened(Range range, const AxisOptions& options) {
  constexpr double kLargest = 1e100, kRounding = 1e-12;
  range.low = std::clamp(range.low, options.log ? 1 / kLargest : -kLargest, kLargest);
  range.high = std::clamp(range.high, range.low, kLargest);
  const double least = std::max(1 / kLargest, kRounding * std::max(std::abs(range.low), std::abs(range.high)));
  if (range.high - range.low > least) return range;
  if (options.log) return {range.low / 1.5, range.high * 1.5};
  const double by = options.whole ? 1 : range.low == 0 ? 1 : 0.1 * std::abs(range.low);
  Range wide{std::max(options.least, range.low - by), std::min(options.most, range.high + by)};
  if (!(wide.low < wide.high)) wide = {range.low - by, range.high + by};
  return wide;
}

}  // namespace

double Axis::share(double v) const { return log ? std::log(v / low) / std::log(high / low) : (v - low) / (high - low); }

Axis make_axis(Range range, const AxisOptions& options) {
  range = widened(range, options);
  Axis axis{.log = options.log, .low = range.low, .high = range.high, .ticks = {}};
  if (options.log) {
    const double pad = std::pow(range.high / range.low, options.snap ? 0.04 : 0);
    axis.low /= pad, axis.high *= pad;
    axis.ticks = log_ticks(axis.low, axis.high);
    return axis;
  }
  double step = nice_step(range.high - range.low, 5);
  if (options.whole) step = std::max(1.0, step);
  if (options.snap) {
    axis.low = std::max(options.least, std::floor(range.low / step + 1e-6) * step);
    axis.high = std::min(options.most, std::ceil(range.high / step - 1e-6) * step);
  }
  axis.ticks = linear_ticks(axis.low, axis.high, step);
  return axis;
}

void Frame::fit(double label_width) {
  double widest = 0;
  for (const Tick& t : y.ticks) widest = std::max(widest, text_width(t.text, kFontSize));
  left = std::max(24.0, widest + 10);
  right = width - std::max(14.0, label_width);
}

std::string open_svg(double width, double height, const std::string& description) {
  return fmt::format("<svg viewBox=\"0 0 {:.0f} {:.0f}\" role=\"img\" aria-label=\"{}\">", width, height,
                     escape(description));
}

std::string text_svg(double x, double y, const std::string& anchor, const std::string& text,
                     const std::string& attributes) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\"{}{}>{}</text>", x, y,
                     anchor == "start" ? "" : fmt::format(" text-anchor=\"{}\"", anchor),
                     attributes.empty() ? "" : " " + attributes, escape(text));
}

std::string tooltip(const std::string& text) { return "<title>" + escape(text) + "</title>"; }

std::string frame_svg(const Frame& f, const std::string& x_name, const std::string& y_name) {
  std::string out = "<g class=\"grid\">";
  for (const Tick& t : f.y.ticks)
    out += fmt::format("<path d=\"M{:.1f} {:.1f}H{:.1f}\"/>", f.left, f.py(t.value), f.right);
  out += fmt::format("</g><path class=\"axis\" d=\"M{:.1f} {:.1f}H{:.1f}", f.left, f.bottom, f.right);
  for (const Tick& t : f.x.ticks) out += fmt::format("M{:.1f} {:.1f}v4", f.px(t.value), f.bottom);
  out += "\"/><g class=\"ticks\">";
  for (const Tick& t : f.y.ticks) out += text_svg(f.left - 6, f.py(t.value) + 4, "end", t.text);
  double free_from = -1;
  for (const Tick& t : f.x.ticks) {
    const double half = text_width(t.text, kFontSize) / 2, x = f.px(t.value);
    if (x - half < free_from) continue;
    free_from = x + half + 8;
    out += text_svg(x, f.bottom + 17, "middle", t.text);
  }
  out += "</g><g class=\"names\">";
  out += text_svg(2, f.top - 14, "start", y_name);
  out += text_svg((f.left + f.right) / 2, f.bottom + 34, "middle", x_name);
  return out + "</g>";
}

void spread(std::vector<double>& positions, double gap, double low, double high) {
  std::vector<size_t> order(positions.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, {}, [&](size_t i) { return positions[i]; });
  double least = low;
  for (const size_t i : order) {
    positions[i] = std::max(positions[i], least);
    least = positions[i] + gap;
  }
  double most = high;
  for (const size_t i : order | std::views::reverse) {
    positions[i] = std::min(positions[i], most);
    most = positions[i] - gap;
  }
}

std::string LabelPlacer::place(double x, double y, const std::string& label) {
  const double w = text_width(label, kFontSize), h = kFontSize - 2;
  struct Place {
    double dx, dy;  // from the point to the baseline's anchor
    const char* anchor;
  };
  constexpr Place kPlaces[] = {{8, 4, "start"},  {-8, 4, "end"},    {0, -9, "middle"}, {0, 18, "middle"},
                               {6, -6, "start"}, {6, 15, "start"},  {-6, -6, "end"},   {-6, 15, "end"},
                               {4, 21, "end"},   {-4, 21, "start"}, {4, -14, "end"},   {-4, -14, "start"}};
  for (const Place& p : kPlaces) {
    const std::string anchor = p.anchor;
    const double start = x + p.dx - (anchor == "end" ? w : anchor == "middle" ? w / 2 : 0);
    const Box box{start - 1, y + p.dy - h, start + w + 1, y + p.dy + 3};
    if (box.left < area_.left || box.right > area_.right || box.top < area_.top || box.bottom > area_.bottom) continue;
    if (std::ranges::any_of(taken_, [&](const Box& b) { return b.overlaps(box); })) continue;
    taken_.push_back(box);
    return text_svg(x + p.dx, y + p.dy, anchor, label);
  }
  return {};
}

}  // namespace fulcrum::apps
