#include <fulcrum/data/ranking.h>

#include <algorithm>
#include <cmath>

namespace fulcrum {

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
    for (; i < order.size() && scores[order[i]] == score; i++) (members[order[i]] ? hits : misses)++;
    r.auroc += (misses - misses_before) * (hits + hits_before) / 2 / positives / negatives;
    const double precision = hits / (hits + misses);
    r.average_precision += (hits - hits_before) / positives * precision;
    r.curve.push_back({i, precision, hits / positives});
  }
  return r;
}

const Ranking::Cut& cut_at(const Ranking& ranking, size_t flagged) {
  const auto cut = std::ranges::find_if(ranking.curve, [&](const auto& c) { return c.flagged >= flagged; });
  return cut == ranking.curve.end() ? ranking.curve.back() : *cut;
}

bool weights_differ(const std::vector<double>& weights) {
  constexpr double kRounding = 1e-5;
  double low = std::nan(""), high = low;
  for (const double w : weights) low = std::fmin(low, w), high = std::fmax(high, w);  // fmin and fmax ignore NaN
  return high - low > kRounding * high;
}

std::optional<FoundLabels> found_labels(const std::vector<double>& scores, const std::vector<bool>& wrong) {
  const Ranking r = rank_quality(scores, wrong);
  if (r.curve.empty()) return std::nullopt;
  const auto total = static_cast<size_t>(std::ranges::count(wrong, true));
  const Ranking::Cut& cut = cut_at(r, total);
  return FoundLabels{r.auroc, cut.precision, cut.recall, cut.flagged};
}

}  // namespace fulcrum
