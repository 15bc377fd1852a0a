// The charts of the report, as SVG.
//
//   line_chart({.description = "Accuracy by epoch", .x_name = "epoch", .y_name = "top-1, %",
//               .x = {.whole = true}, .series = {{"train", "--s8", points}}});
//
// A chart without a finite point is an empty string. Names and tooltips are escaped by these functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "apps/report/svg.h"

namespace fulcrum::apps {

struct Point {
  double x, y;
  std::string title;
};

struct Series {
  std::string name;
  std::string colour;  // a CSS value
  std::vector<Point> points;
  bool dashed = false;
};

struct LineChart {
  std::string description = {}, x_name = {}, y_name = {};
  AxisOptions x = {.whole = true, .snap = false}, y = {};
  std::vector<Series> series = {};
  /// Whether names stand at the ends of the lines; a legend outside of the chart replaces them.
  bool labels = true;
  /// For a figure across the page.
  bool wide = false;
  /// A range that the vertical axis includes in any case.
  Range include = {};
  /// A dotted horizontal line, which the axis then includes.
  std::optional<double> reference = {};
};
std::string line_chart(const LineChart& chart);

struct Mark {
  double x, y;
  std::string title;
  std::string label;
  bool cross = false;  // in the second colour
};

struct ScatterChart {
  std::string description = {}, x_name = {}, y_name = {};
  AxisOptions x = {}, y = {};
  std::vector<Mark> marks = {};
  bool small = false;  // for many points: small and half transparent
};
std::string scatter_chart(const ScatterChart& chart);

/// A row for each name: one value is a bar from zero, two are a ring and a dot (before and after), several are dots in
/// `colours`; dots are joined by a line.
struct RowChart {
  struct Row {
    std::string name;
    std::vector<double> values;
    std::string title;
  };
  std::string description = {}, x_name = {};
  AxisOptions x = {};
  std::vector<std::string> colours = {};  // CSS values, one for each value of a row
  std::vector<Row> rows = {};
};
std::string row_chart(const RowChart& chart);

/// A row for each name: dots with whiskers (such as mean ± sd), rings and crosses.
struct IntervalChart {
  struct Mark {
    double value;
    double half = 0;           // half the whisker's length; NaN or 0: none
    std::string kind = "dot";  // dot, ring or cross
    std::string colour = "var(--s1)";
    std::string title = {};
  };
  struct Row {
    std::string name;
    std::vector<Mark> marks;
  };
  std::string description = {}, x_name = {};
  AxisOptions x = {};
  std::vector<Row> rows = {};
};
std::string interval_chart(const IntervalChart& chart);

/// Values over two settings, one in each cell: the darker, the higher; NaN stays empty.
struct ValueMap {
  std::string description = {}, x_name = {}, y_name = {};
  std::vector<std::string> columns = {}, rows = {};
  std::vector<std::vector<double>> values = {};  // [row][column]
  std::vector<std::vector<std::string>> titles = {};
  int decimals = 1;
  std::optional<std::pair<size_t, size_t>> outlined = {};  // row, column
};
std::string value_map(const ValueMap& map);

/// How a distribution moves: a column for each x; the more a bin holds, the darker it is.
struct StripChart {
  std::string description = {}, x_name = {}, y_name = {};
  std::vector<double> x = {};                    // of the columns, equally far apart
  std::vector<double> edges = {};                // of the bins, growing, on a logarithmic axis
  std::vector<std::vector<double>> shares = {};  // [column][bin]
  std::optional<double> reference = {};          // a dotted line across
  std::string colour = "var(--s1)";
};
std::string strip_chart(const StripChart& chart);

/// counts [n][n]: true class by predicted class; rows are shown as shares of their sum.
struct HeatMap {
  std::string description;
  std::vector<std::string> names = {};
  std::vector<std::vector<int64_t>> counts = {};
};
std::string heat_map(const HeatMap& map);

}  // namespace fulcrum::apps
