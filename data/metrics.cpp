#include <fulcrum/data/metrics.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include <fulcrum/core/check.h>
#include <fulcrum/data/ranking.h>

namespace fulcrum {

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// Mean of the recalls whose class has a training count in [low, high].
double mean_recall(const std::vector<double>& recall, std::span<const int64_t> counts, int64_t low, int64_t high) {
  double total = 0;
  int64_t classes = 0;
  for (size_t c = 0; c < recall.size(); c++) {
    if (std::isnan(recall[c]) || counts[c] < low || counts[c] > high) continue;
    total += recall[c];
    classes++;
  }
  return classes ? total / static_cast<double>(classes) : kNan;
}

void summarise_recalls(Metrics& m, std::span<const int64_t> train_counts) {
  constexpr int64_t kAll = std::numeric_limits<int64_t>::max();
  m.worst = kNan;
  for (const double recall : m.per_class) m.worst = std::fmin(m.worst, recall);
  m.balanced = mean_recall(m.per_class, train_counts, 0, kAll);
  m.many = mean_recall(m.per_class, train_counts, 101, kAll);
  m.medium = mean_recall(m.per_class, train_counts, 20, 100);
  m.few = mean_recall(m.per_class, train_counts, 0, 19);
}

// The outcome of one row of logits.
struct Answer {
  size_t predicted = 0;   // the class of the largest logit; of equals, the first
  size_t rank = 0;        // of the label: the number of classes before it
  double loss = 0;        // −log softmax(z)_y
  double confidence = 0;  // the largest probability
};

Answer answer(const float* z, size_t classes, size_t y) {
  // Ties go to the lower class, as argmax does.
  const float* largest = std::max_element(z, z + classes);
  const auto top = static_cast<double>(*largest);
  Answer a{.predicted = static_cast<size_t>(largest - z)};
  double total = 0;
  for (size_t c = 0; c < classes; c++) {
    if (c != y) a.rank += !(z[c] < z[y] || (z[c] == z[y] && c > y));  // a NaN ranks before the label
    total += std::exp(static_cast<double>(z[c]) - top);
  }
  a.loss = std::log(total) + top - static_cast<double>(z[y]);
  a.confidence = 1 / total;
  return a;
}

// The mean of F1 = 2 TP / (2 TP + FP + FN) over the classes that occur in the labels or the predictions.
double mean_f1(std::span<const double> right, std::span<const double> seen, std::span<const double> predicted) {
  double total = 0, classes = 0;
  for (size_t c = 0; c < right.size(); c++) {
    if (seen[c] + predicted[c] == 0) continue;
    total += 2 * right[c] / (seen[c] + predicted[c]);
    classes++;
  }
  return total / classes;
}

// Expected calibration error: samples are sorted by confidence into M equal bins, bin b being (b/M, (b+1)/M]; the error
// is the mean of |accuracy − confidence| over the bins, weighted by their sizes.
class Calibration {
 public:
  void add(double confidence, bool right) {
    undefined_ = undefined_ || std::isnan(confidence);
    if (undefined_) return;
    // The bin of the first upper edge that the confidence does not exceed; edges as in linspace(0, 1, M + 1).
    size_t bin = 0;
    while (bin + 1 < kBins && confidence > static_cast<double>(bin + 1) / kBins) bin++;
    // Σ right − Σ confidence is all that a bin contributes.
    gap_[bin] += (right ? 1 : 0) - confidence;
  }
  double error(double count) const {
    double total = 0;
    for (const double gap : gap_) total += std::abs(gap);
    return undefined_ ? kNan : total / count;
  }

 private:
  static constexpr size_t kBins = 15;
  std::array<double, kBins> gap_{};
  bool undefined_ = false;
};

}  // namespace

Metrics classification_metrics(const Tensor& logits, std::span<const int64_t> labels,
                               std::span<const int64_t> train_counts) {
  check(logits.dim() == 2 && logits.dtype() == DType::kF32 && logits.size(0) == std::ssize(labels),
        "[metrics] expected logits f32 [", labels.size(), ", C], a row for each label, got ", logits.dtype(), " ",
        logits.shape());
  const auto classes = static_cast<size_t>(logits.size(1));
  check(train_counts.size() == classes, "[metrics] expected the counts of ", classes, " classes, got ",
        train_counts.size());
  for (const int64_t y : labels)
    check(y >= 0 && y < logits.size(1), "[metrics] expected labels in [0, ", classes, "), got ", y);
  std::vector<double> seen(classes, 0), right(classes, 0), predicted(classes, 0), scores;
  std::vector<bool> positive;
  Calibration calibration;
  Metrics m;
  m.count = logits.size(0);
  const float* z = logits.data<float>();
  for (size_t i = 0; i < labels.size(); i++, z += classes) {
    const auto y = static_cast<size_t>(labels[i]);
    const Answer a = answer(z, classes, y);
    seen[y] += 1;
    predicted[a.predicted] += 1;
    right[y] += a.rank == 0;
    m.loss += a.loss;
    m.top1 += a.rank == 0;
    m.top5 += a.rank < 5;
    calibration.add(a.confidence, a.rank == 0);
    // The difference of the logits orders samples as the probability of class 1 does, with more digits.
    if (classes == 2) scores.push_back(static_cast<double>(z[1]) - static_cast<double>(z[0]));
    if (classes == 2) positive.push_back(y == 1);
  }
  const auto n = static_cast<double>(m.count);
  m.loss /= n, m.top1 /= n, m.top5 /= n;
  for (size_t c = 0; c < classes; c++) m.per_class.push_back(seen[c] > 0 ? right[c] / seen[c] : kNan);
  m.macro_f1 = mean_f1(right, seen, predicted);
  m.ece = calibration.error(n);
  const bool ranked = std::ranges::none_of(scores, [](double s) { return std::isnan(s); });
  const Ranking ranking = ranked ? rank_quality(scores, positive) : Ranking();
  m.auroc = ranking.curve.empty() ? kNan : ranking.auroc;
  m.auprc = ranking.curve.empty() ? kNan : ranking.average_precision;
  summarise_recalls(m, train_counts);
  return m;
}

}  // namespace fulcrum
