// Bins of equal width on a logarithmic axis, the same in every epoch and every run, so that
// histograms can be laid beside each other. What lies outside counts in the first or the last.
//
//   std::vector<int64_t> counts(kWeightBins.count());
//   counts[kWeightBins.bin(0.8)]++;
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

namespace fulcrum::apps {

struct LogBins {
  double low;  // where the first begins
  int decades, per_decade;

  constexpr size_t count() const { return static_cast<size_t>(decades) * static_cast<size_t>(per_decade); }
  /// Zero, negative numbers and NaN are in the first.
  size_t bin(double v) const {
    if (!(v > low)) return 0;
    const double at = std::floor(std::log10(v / low) * per_decade);
    return static_cast<size_t>(std::min(at, static_cast<double>(count() - 1)));
  }
  /// count() + 1 numbers.
  std::vector<double> edges() const {
    std::vector<double> edges;
    for (size_t i = 0; i <= count(); i++) edges.push_back(low * std::pow(10, static_cast<double>(i) / per_decade));
    return edges;
  }
};

/// Of B·p: 1, the plain mean's, is the middle of a bin, whatever rounding makes of it: 10^(−3 − 1/16).
inline constexpr LogBins kWeightBins{8.65964323e-4, 6, 8};
inline constexpr LogBins kLossBins{1e-4, 6, 8};

}  // namespace fulcrum::apps
