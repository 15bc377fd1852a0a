// Mean and standard deviation over seeds.
//
//   const Spread s = spread_of({0.71, 0.73, 0.72});
//   s.mean, s.sd;                                  // 0.72, 0.01
#pragma once

#include <cmath>
#include <limits>
#include <vector>

namespace fulcrum::apps {

struct Spread {
  double mean = std::numeric_limits<double>::quiet_NaN();
  double sd = std::numeric_limits<double>::quiet_NaN();  // sample standard deviation; NaN for fewer than two
  size_t count = 0;
};

inline Spread spread_of(const std::vector<double>& values) {
  Spread s;
  s.count = values.size();
  if (values.empty()) return s;
  const auto n = static_cast<double>(values.size());
  double sum = 0, squares = 0;
  for (const double v : values) sum += v;
  s.mean = sum / n;
  for (const double v : values) squares += (v - s.mean) * (v - s.mean);
  if (values.size() > 1) s.sd = std::sqrt(squares / (n - 1));
  return s;
}

}  // namespace fulcrum::apps
