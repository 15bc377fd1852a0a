#include "apps/report/ranking.h"

#include <algorithm>
#include <cmath>

namespace fulcrum::apps {

Ranking rank_quality(const std::vector<double>& scores, const std::vector<bool>& members) {
  std::vector<size_t> order;
  double positives = 0;
  for (size_t i = 0; i < scores.size(); i++) {
    if (std::isnan(scores[i])) continue;
    order.push_back(i);
    positives += members[i];
  }
  const double negatives = static_cast<double>(order.size()) - positives;
  Ranking r;
  if (positives == 0 || negatives == 0) return r;
  std::ranges::stable_sort(order, [&](size_t a, size_t b) { return scores[a] > scores[b]; });
  double hits = 0, misses = 0;
  for (size_t i = 0; i < order.size();) {
    const double score = scores[order[i]], hits_before = hits, misses_before = misses;
    for (; i < order.size() && scores[order[i]] == score; i++)
      (members[order[i]] ? hits : misses)++;
    r.auroc += (misses - misses_before) * (hits + hits_before) / 2 / positives / negatives;
    const double precision = hits / (hits + misses);
    r.average_precision += (hits - hits_before) / positives * precision;
    r.curve.push_back({i, precision, hits / positives});
  }
  return r;
}

}  // namespace fulcrum::apps
