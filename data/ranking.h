// How well a score finds the members of a set, such as positive samples or wrong labels: AUROC, average precision, the
// curve.
//
//   const Ranking r = rank_quality(scores, is_wrong);   // a high score says "wrong"
//   r.auroc;  r.average_precision;  r.curve[k].precision;
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

namespace fulcrum {

struct Ranking {
  struct Cut {
    size_t flagged;  // samples with the highest scores
    double precision, recall;
  };
  /// The probability that a member has a larger score than a non-member, ties counting half: the area under the ROC
  /// curve.
  double auroc = 0;
  /// Σ (recall step) · precision over the distinct scores: scikit-learn's average_precision_score.
  double average_precision = 0;
  std::vector<Cut> curve;  // a cut at each distinct score
};

/// Leaves out samples with a NaN score. The curve is empty unless the rest has both members and non-members.
Ranking rank_quality(const std::vector<double>& scores, const std::vector<bool>& members);

/// Whether the weights differ by more than rounding: 1/B times B is not always 1. Ignores NaN, the weight of samples
/// that were not visited.
bool weights_differ(const std::vector<double>& weights);

/// How well high scores find wrong labels.
struct FoundLabels {
  double auroc;
  double precision, recall;  // among as many of the highest scores as there are wrong labels
  size_t flagged;            // as many, plus those tied with the last
};
/// Nothing if no label is wrong, or if all are.
std::optional<FoundLabels> found_labels(const std::vector<double>& scores, const std::vector<bool>& wrong);
/// The first cut of the curve that flags at least `flagged` samples; the last cut if none does. The curve must not be
/// empty.
const Ranking::Cut& cut_at(const Ranking& ranking, size_t flagged);

}  // namespace fulcrum
