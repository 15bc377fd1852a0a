// Metrics against numbers worked out by hand and against scikit-learn (golden/metrics.py).
#include <nlohmann/json.hpp>

#include <fulcrum/data/ranking.h>

#include "apps/metrics.h"

#include "golden.h"

namespace fulcrum::testing {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// Logits whose row i is largest at choices[i].
Tensor choosing(const std::vector<int64_t>& choices, int64_t classes) {
  std::vector<double> z(choices.size() * static_cast<size_t>(classes), 0);
  for (size_t i = 0; i < choices.size(); i++) z[i * static_cast<size_t>(classes) + static_cast<size_t>(choices[i])] = 1;
  return from_vector({static_cast<int64_t>(choices.size()), classes}, z);
}

TEST(Metrics, CountsRightAnswersPerClass) {
  // Class 0: 3 of 4 right; class 1: 1 of 2; class 2: 0 of 1.
  const std::vector<int64_t> labels = {0, 0, 0, 0, 1, 1, 2}, counts = {500, 50, 5};
  const Metrics m = classification_metrics(choosing({0, 0, 0, 2, 1, 0, 1}, 3), labels, counts);
  EXPECT_EQ(m.count, 7);
  EXPECT_DOUBLE_EQ(m.top1, 4.0 / 7);
  EXPECT_DOUBLE_EQ(m.top5, 1);  // of three classes
  EXPECT_EQ(m.per_class, (std::vector<double>{0.75, 0.5, 0}));
  EXPECT_DOUBLE_EQ(m.balanced, 1.25 / 3);
  EXPECT_DOUBLE_EQ(m.worst, 0);
  EXPECT_DOUBLE_EQ(m.many, 0.75);
  EXPECT_DOUBLE_EQ(m.medium, 0.5);
  EXPECT_DOUBLE_EQ(m.few, 0);
}

TEST(Metrics, RefuseWhatDoesNotFit) {
  const std::vector<int64_t> counts = {1, 1, 1}, labels = {0, 2};
  const Tensor z = choosing({0, 1}, 3);
  EXPECT_ERROR(classification_metrics(z, std::vector<int64_t>{0, 3}, counts), "expected labels in [0, 3), got 3");
  EXPECT_ERROR(classification_metrics(z, std::vector<int64_t>{0}, counts),
               "expected logits f32 [1, C], a row for each");
  EXPECT_ERROR(classification_metrics(z.to(DType::kF64), labels, counts), "got f64 [2, 3]");
  EXPECT_ERROR(classification_metrics(z, labels, std::vector<int64_t>{1, 1}),
               "expected the counts of 3 classes, got 2");
}

TEST(Metrics, LossIsThePlainCrossEntropy) {
  const std::vector<int64_t> labels = {0, 1}, counts = {1, 1};
  const Tensor z = from_vector({2, 2}, std::vector<double>{std::log(3.0), 0, std::log(3.0), 0});
  // p = 3/4 and 1/4.
  EXPECT_NEAR(classification_metrics(z, labels, counts).loss, (std::log(4.0 / 3) + std::log(4.0)) / 2, 1e-7);
  // Without overflow.
  const Tensor large = from_vector({2, 2}, std::vector<double>{1e30, 0, 1e4, 0});
  EXPECT_NEAR(classification_metrics(large, labels, counts).loss, 5000, 1e-6);
}

TEST(Metrics, TopFiveOfSeven) {
  const Tensor z = from_vector({3, 7}, std::vector<double>{7, 6, 5, 4, 3, 2, 1,  //
                                                           7, 6, 5, 4, 3, 2, 1,  //
                                                           1, 2, 3, 4, 5, 6, 7});
  const std::vector<int64_t> labels = {4, 5, 2}, counts(7, 1);
  const Metrics m = classification_metrics(z, labels, counts);
  EXPECT_DOUBLE_EQ(m.top1, 0);
  EXPECT_DOUBLE_EQ(m.top5, 2.0 / 3);
}

TEST(Metrics, TiesGoToTheLowerClass) {
  const std::vector<int64_t> labels = {0, 1, 2}, counts(3, 1);
  const Metrics m = classification_metrics(zeros({3, 3}), labels, counts);
  EXPECT_EQ(m.per_class, (std::vector<double>{1, 0, 0}));
  // Six equal logits: class 5 is the sixth.
  const std::vector<int64_t> last = {5}, six(6, 1);
  EXPECT_DOUBLE_EQ(classification_metrics(zeros({1, 6}), last, six).top5, 0);
}

TEST(Metrics, ClassesWithoutSamplesAreLeftOut) {
  const std::vector<int64_t> labels = {0, 2}, counts = {500, 300, 10};
  const Metrics m = classification_metrics(choosing({0, 0}, 3), labels, counts);
  EXPECT_DOUBLE_EQ(m.per_class[0], 1);
  EXPECT_TRUE(std::isnan(m.per_class[1]));
  EXPECT_DOUBLE_EQ(m.balanced, 0.5);
  EXPECT_DOUBLE_EQ(m.worst, 0);
  EXPECT_DOUBLE_EQ(m.many, 1);
  EXPECT_TRUE(std::isnan(m.medium));
  EXPECT_DOUBLE_EQ(m.few, 0);
  const std::vector<int64_t> middle = {1};
  EXPECT_DOUBLE_EQ(classification_metrics(choosing({1}, 3), middle, counts).worst, 1);
}

TEST(Metrics, BordersOfManyMediumAndFew) {
  // One class right at a time shows where it belongs: > 100, 20–100, < 20.
  const std::vector<int64_t> counts = {101, 100, 20, 19, 0}, labels = {0, 1, 2, 3, 4};
  const auto with_right = [&](int64_t label) {
    std::vector<int64_t> choices(5, (label + 1) % 5);
    choices[static_cast<size_t>((label + 1) % 5)] = label;
    choices[static_cast<size_t>(label)] = label;
    return classification_metrics(choosing(choices, 5), labels, counts);
  };
  EXPECT_DOUBLE_EQ(with_right(0).many, 1);
  EXPECT_DOUBLE_EQ(with_right(1).medium, 0.5);
  EXPECT_DOUBLE_EQ(with_right(2).medium, 0.5);
  EXPECT_DOUBLE_EQ(with_right(3).few, 0.5);
  EXPECT_DOUBLE_EQ(with_right(4).few, 0.5);
  for (int64_t label = 0; label < 5; label++) EXPECT_DOUBLE_EQ(with_right(label).balanced, 0.2);
}

TEST(Metrics, LogitsThatAreNoNumbersAreWrong) {
  const std::vector<int64_t> labels = {0, 1, 1}, counts = {1, 1};
  const Tensor z = from_vector({3, 2}, std::vector<double>{kNan, kNan, kNan, 1, 0, 1});
  const Metrics m = classification_metrics(z, labels, counts);
  EXPECT_DOUBLE_EQ(m.per_class[0], 0);
  EXPECT_DOUBLE_EQ(m.per_class[1], 0.5);
  EXPECT_TRUE(std::isnan(m.loss));
  EXPECT_TRUE(std::isnan(m.ece));
  EXPECT_TRUE(std::isnan(m.auroc));
}

TEST(Metrics, WrongNumberOfLabels) {
  const std::vector<int64_t> labels = {0}, counts = {1, 1};
  EXPECT_ERROR(classification_metrics(zeros({3, 2}), labels, counts),
               "expected logits f32 [1, C], a row for each label, got f32 [3, 2]");
}

TEST(Metrics, JsonHasNullForWhatIsUndefined) {
  const std::vector<int64_t> labels = {0}, two = {500, 500}, three = {500, 500, 500};
  const auto j = nlohmann::json::parse(apps::to_json(classification_metrics(choosing({0}, 2), labels, two)).dump());
  EXPECT_EQ(j["top1"], 1);
  EXPECT_EQ(j["many"], 1);
  EXPECT_TRUE(j["few"].is_null());
  EXPECT_TRUE(j["auroc"].is_null());  // class 1 does not occur
  EXPECT_EQ(j["macro_f1"], 1);
  EXPECT_EQ(j["per_class"], nlohmann::json::parse("[1.0, null]"));
  EXPECT_FALSE(apps::to_json(classification_metrics(choosing({0}, 3), labels, three)).contains("auroc"));
}

TEST(Metrics, EqualScikitLearns) {
  const Golden golden("metrics");
  for (const Json& name : golden.about["cases"].list) {
    SCOPED_TRACE(name.text);
    const auto expected = [&](const std::string& key) { return golden[name.text + "." + key].item(); };
    const Tensor logits = golden[name.text + ".logits"].to(DType::kF32);
    std::vector<int64_t> labels;
    for (const double label : golden[name.text + ".labels"].to_vector()) labels.push_back(static_cast<int64_t>(label));
    const std::vector<int64_t> counts(static_cast<size_t>(logits.size(1)), 1);
    const Metrics m = classification_metrics(logits, labels, counts);
    EXPECT_NEAR(m.top1, expected("top1"), 1e-12);
    EXPECT_NEAR(m.balanced, expected("balanced"), 1e-12);
    EXPECT_NEAR(m.loss, expected("loss"), 1e-12);
    EXPECT_NEAR(m.macro_f1, expected("macro_f1"), 1e-12);
    EXPECT_NEAR(m.ece, expected("ece"), 1e-12);
    EXPECT_EQ(std::isnan(m.auroc), logits.size(1) != 2);
    if (logits.size(1) != 2) continue;
    EXPECT_NEAR(m.auroc, expected("auroc"), 1e-12);
    EXPECT_NEAR(m.auprc, expected("auprc"), 1e-12);
  }
}

TEST(Metrics, OfADetectorEqualScikitLearns) {
  const Golden golden("metrics");
  std::vector<bool> positive;
  for (const double p : golden["detector.positive"].to_vector()) positive.push_back(p != 0);
  const Ranking ranking = rank_quality(golden["detector.scores"].to_vector(), positive);
  EXPECT_NEAR(ranking.auroc, golden["detector.auroc"].item(), 1e-12);
  EXPECT_NEAR(ranking.average_precision, golden["detector.auprc"].item(), 1e-12);
}

TEST(Metrics, OfADetectorByHand) {
  const std::vector<double> scores = {3, 2, 2, 1};
  const Ranking ranking = rank_quality(scores, {true, false, true, false});
  EXPECT_DOUBLE_EQ(ranking.auroc, 3.5 / 4);  // one of four pairs is a tie
  EXPECT_DOUBLE_EQ(ranking.average_precision, 0.5 * 1 + 0.5 * 2 / 3);
  for (const bool all : {false, true}) EXPECT_TRUE(rank_quality(scores, std::vector<bool>(4, all)).curve.empty());
}

TEST(Metrics, AnyNumberIsBetterThanNone) {
  for (const char* metric : {"top1", "loss"}) {
    EXPECT_TRUE(apps::is_better(metric, 1, kNan)) << metric;
    EXPECT_FALSE(apps::is_better(metric, kNan, 1)) << metric;
    EXPECT_FALSE(apps::is_better(metric, kNan, kNan)) << metric;
    EXPECT_FALSE(apps::is_better(metric, 1, 1)) << metric;
  }
  EXPECT_TRUE(apps::is_better("balanced", 2, 1));
  EXPECT_TRUE(apps::is_better("loss", 1, 2));
}

TEST(Metrics, CalibrationBinsAreClosedAbove) {
  // Equal logits of five classes: a confidence of 1/5 is the upper edge of the third of 15 bins,
  // and one of 0.21 belongs to the fourth. The right answer and the wrong one do not cancel out.
  const std::vector<int64_t> labels = {0, 1}, counts(5, 1);
  const double z = std::log(0.21 / 0.79 * 4);
  const Tensor logits = from_vector({2, 5}, std::vector<double>{0, 0, 0, 0, 0, z, 0, 0, 0, 0});
  EXPECT_NEAR(classification_metrics(logits, labels, counts).ece, (0.8 + 0.21) / 2, 1e-7);
  // In one bin they do: |1 − (0.21 + 0.22)| / 2.
  const double other = std::log(0.22 / 0.78 * 4);
  const Tensor together = from_vector({2, 5}, std::vector<double>{z, 0, 0, 0, 0, other, 0, 0, 0, 0});
  EXPECT_NEAR(classification_metrics(together, labels, counts).ece, (1 - 0.43) / 2, 1e-7);
}

TEST(Metrics, F1CountsWhatIsPredictedOnly) {
  // Class 0: TP 1, FN 1; class 1: FP 1; class 2: TP 1; class 3 occurs nowhere.
  const std::vector<int64_t> labels = {0, 0, 2}, counts(4, 1);
  const Metrics m = classification_metrics(choosing({0, 1, 2}, 4), labels, counts);
  EXPECT_DOUBLE_EQ(m.macro_f1, (2.0 / 3 + 0 + 1) / 3);
}

}  // namespace
}  // namespace fulcrum::testing
