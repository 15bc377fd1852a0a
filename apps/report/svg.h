// The parts of the report's charts: axes with sensible ticks, the frame of a plot, text, labels that do not overlap.
//
//   Frame f{.x = make_axis({0, 30}, {.whole = true}), .y = make_axis({0.2, 3.1}, {.log = true})};
//   f.fit(label_width);
//   std::string svg = open_svg(f, "Loss by epoch") + frame_svg(f, "epoch", "loss") + … + "</svg>";
//
// Colours and fonts come from the page's style sheet, by class, so that they follow its theme.
// Sizes are in units of a drawing 440 wide, which the page scales to its column.
#pragma once

#include <cmath>
#include <limits>
#include <string>
#include <vector>

namespace fulcrum::apps {

/// The size that the layout assumes; the style sheet sets this size on phones and a smaller one on wide screens.
inline constexpr double kFontSize = 13;
inline constexpr double kLineHeight = 14.5;

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();
  void add(double v) {
    if (!std::isfinite(v)) return;
    low = std::fmin(low, v);
    high = std::fmax(high, v);
  }
  bool empty() const { return !(low <= high); }
};

struct AxisOptions {
  bool log = false;
  bool whole = false;                                       // ticks at integers
  bool snap = true;                                         // ends at ticks
  double least = -std::numeric_limits<double>::infinity();  // limits of the axis
  double most = std::numeric_limits<double>::infinity();
};

struct Tick {
  double value;
  std::string text;
};

struct Axis {
  bool log = false;
  double low = 0, high = 1;
  std::vector<Tick> ticks;
  /// Position of v between low and high, in [0, 1] for values inside.
  double share(double v) const;
};

/// An axis that covers `range`, which must not be empty and, for a logarithmic axis, must be positive.
Axis make_axis(Range range, const AxisOptions& options);

/// A plot area with its axes.
struct Frame {
  Axis x, y;
  double width = 440, height = 280;
  double left = 40, right = 428, top = 28, bottom = 240;
  /// Sets the margins: on the left for the ticks, on the right for labels of that width.
  void fit(double label_width);
  double px(double v) const { return left + x.share(v) * (right - left); }
  double py(double v) const { return bottom - y.share(v) * (bottom - top); }
};

/// `<svg …>` with its description for screen readers.
std::string open_svg(double width, double height, const std::string& description);
/// Grid, ticks and the names of the axes.
std::string frame_svg(const Frame& frame, const std::string& x_name, const std::string& y_name);
/// A text; `anchor` is start, middle or end. Escapes the text.
std::string text_svg(double x, double y, const std::string& anchor, const std::string& text,
                     const std::string& attributes = "");
/// `<title>`, the tooltip of the mark that contains it. Escapes the text.
std::string tooltip(const std::string& text);

/// Moves positions along a line apart, to at least `gap` between neighbours, inside [low, high]
/// where there is room.
void spread(std::vector<double>& positions, double gap, double low, double high);

struct Box {
  double left, top, right, bottom;
  bool overlaps(const Box& o) const { return left < o.right && o.left < right && top < o.bottom && o.top < bottom; }
};

/// Finds room for labels beside points.
class LabelPlacer {
 public:
  explicit LabelPlacer(const Box& area) : area_(area) {}
  /// Keeps labels out of the box.
  void block(const Box& box) { taken_.push_back(box); }
  /// The label of a point as SVG; empty if there is no room.
  std::string place(double x, double y, const std::string& label);

 private:
  Box area_;
  std::vector<Box> taken_;
};

}  // namespace fulcrum::apps
