#include "apps/metrics.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <nlohmann/json.hpp>

#include <fulcrum/core/check.h>

namespace fulcrum::apps {

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// Mean of the recalls whose class has a training count in [low, high].
double mean_recall(const std::vector<double>& recall, std::span<const int64_t> counts, int64_t low,
                   int64_t high) {
  double total = 0;
  int64_t classes = 0;
  for (size_t c = 0; c < recall.size(); c++) {
    if (std::isnan(recall[c]) || counts[c] < low || counts[c] > high) continue;
    total += recall[c];
    classes++;
  }
  return classes ? total / static_cast<double>(classes) : kNan;
}

}  // namespace

Metrics classification_metrics(const Tensor& logits, std::span<const int64_t> labels,
                               std::span<const int64_t> train_counts) {
  const auto classes = static_cast<size_t>(logits.size(1));
  check(logits.size(0) == static_cast<int64_t>(labels.size()), "[metrics] expected ", labels.size(),
        " rows of logits, got ", logits.shape());
  std::vector<double> seen(classes, 0), right(classes, 0);
  Metrics m;
  m.count = logits.size(0);
  const float* z = logits.data<float>();
  for (size_t i = 0; i < labels.size(); i++, z += classes) {
    const auto y = static_cast<size_t>(labels[i]);
    // Ties go to the lower class, as argmax does.
    size_t rank = 0;
    double total = 0;
    const float top = *std::max_element(z, z + classes);
    for (size_t c = 0; c < classes; c++) {
      if (c != y) rank += !(z[c] < z[y] || (z[c] == z[y] && c > y));  // a NaN wins against the label
      total += std::exp(static_cast<double>(z[c]) - static_cast<double>(top));
    }
    m.loss += std::log(total) + static_cast<double>(top) - static_cast<double>(z[y]);
    seen[y] += 1;
    right[y] += rank == 0;
    m.top1 += rank == 0;
    m.top5 += rank < 5;
  }
  const auto n = static_cast<double>(m.count);
  m.loss /= n, m.top1 /= n, m.top5 /= n;
  m.worst = kNan;
  for (size_t c = 0; c < classes; c++) {
    m.per_class.push_back(seen[c] > 0 ? right[c] / seen[c] : kNan);
    m.worst = std::fmin(m.worst, m.per_class[c]);
  }
  constexpr int64_t kAll = std::numeric_limits<int64_t>::max();
  m.balanced = mean_recall(m.per_class, train_counts, 0, kAll);
  m.many = mean_recall(m.per_class, train_counts, 101, kAll);
  m.medium = mean_recall(m.per_class, train_counts, 20, 100);
  m.few = mean_recall(m.per_class, train_counts, 0, 19);
  return m;
}

nlohmann::json to_json(const Metrics& m) {
  return {{"top1", m.top1},   {"top5", m.top5},     {"balanced", m.balanced}, {"worst_class", m.worst},
          {"many", m.many},   {"medium", m.medium}, {"few", m.few},           {"loss", m.loss},
          {"per_class", m.per_class}};
}

}  // namespace fulcrum::apps
