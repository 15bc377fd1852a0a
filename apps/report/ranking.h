// How well a score finds the members of a set: AUROC, average precision, the curve.
//
//   const Ranking r = rank_quality(scores, is_wrong);   // a high score says "wrong"
//   r.auroc;  r.average_precision;  r.curve[k].precision;
#pragma once

#include <cstddef>
#include <vector>

namespace fulcrum::apps {

struct Ranking {
  struct Cut {
    size_t flagged;  // samples with the highest scores
    double precision, recall;
  };
  double auroc = 0;              // ties count one half
  double average_precision = 0;  // Σ (recall step) · precision, over the different scores
  std::vector<Cut> curve;        // a cut at each different score
};

/// Samples with a NaN score are left out. There must be members and others among the rest; else
/// the curve is empty.
Ranking rank_quality(const std::vector<double>& scores, const std::vector<bool>& members);

}  // namespace fulcrum::apps
