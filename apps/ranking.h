// How well a score finds the members of a set, such as positive samples or wrong labels: AUROC, average precision, the
// curve.
//
//   const Ranking r = rank_quality(scores, is_wrong);   // a high score says "wrong"
//   r.auroc;  r.average_precision;  r.curve[k].precision;
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

namespace fulcrum::apps {

struct Ranking {
  struct Cut {
    size_t flagged;  // samples with the highest scores
    double precision, recall;
  };
  /// The probability that a member has a larger score than another, ties counting half: the area under the ROC curve.
  double auroc = 0;
  /// Σ (recall step) · precision over the different scores: scikit-learn's average_precision_score.
  double average_precision = 0;
  std::vector<Cut> curve;  // a cut at each different score
};

/// Samples with a NaN score are left out. There must be members and others among the rest; else
/// the curve is empty.
Ranking rank_quality(const std::vector<double>& scores, const std::vector<bool>& members);

/// By more than rounding: 1/B times B is not always 1. NaN, of samples that were not visited, are left out.
bool weights_differ(const std::vector<double>& weights);

/// How well low weights find wrong labels.
struct FoundLabels {
  double auroc;
  double precision, recall;  // among as many of the lightest samples as there are wrong labels
  size_t flagged;            // that many, and those of equal weight
};
/// Nothing where no label is wrong or all are, or where all weights are alike.
std::optional<FoundLabels> found_labels(const std::vector<double>& weights, const std::vector<bool>& wrong);
/// The first cut of the curve, which is not empty, that flags so many samples; the last where none does.
const Ranking::Cut& cut_at(const Ranking& ranking, size_t flagged);

}  // namespace fulcrum::apps
