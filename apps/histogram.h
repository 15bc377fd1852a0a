// Bins of equal width on a logarithmic axis, the same in every epoch and every run, so that histograms can be compared.
// Values outside the range count in the first or the last bin.
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
  double low;  // lower edge of the first bin
  int decades, per_decade;

  constexpr size_t count() const { return static_cast<size_t>(decades) * static_cast<size_t>(per_decade); }
  /// The bin of `v`; zero, negative numbers and NaN are in the first.
  size_t bin(double v) const {
    if (!(v > low)) return 0;
    const double at = std::floor(std::log10(v / low) * per_decade);
    return static_cast<size_t>(std::min(at, static_cast<double>(count() - 1)));
  }
  /// The edges of the bins: count() + 1 numbers.
  std::vector<double> edges() const {
    std::vector<double> edges;
    for (size_t i = 0; i <= count(); i++) edges.push_back(low * std::pow(10, static_cast<double>(i) / per_decade));
    return edges;
  }
};

/// For B·p. The first bin begins at 10^(−3 − 1/16), so that 1, the weight in the plain mean, is the middle of a bin and
/// stays in it whatever the rounding.
inline constexpr LogBins kWeightBins{8.65964323e-4, 6, 8};
inline constexpr LogBins kLossBins{1e-4, 6, 8};

}  // namespace fulcrum::apps
