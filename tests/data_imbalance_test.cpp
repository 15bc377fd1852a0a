// Imbalanced subsets, index lists, stratified splits and label noise.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include <fulcrum/data/cifar.h>
#include <fulcrum/data/imbalance.h>
#include <fulcrum/data/noise.h>

#include "data_testing.h"

namespace fulcrum {
namespace {

using Ints = std::vector<int64_t>;

/// n samples of each class, classes taking turns.
Ints balanced_labels(int64_t classes, int64_t n) {
  Ints labels;
  for (int64_t i = 0; i < classes * n; i++) labels.push_back(i % classes);
  return labels;
}

Ints counts_of(const Ints& labels, const Ints& indices, int64_t classes) {
  return class_counts(gather(labels, indices), classes);
}

TEST(Imbalance, ExponentialCountsAreThePublishedOnes) {
  // CIFAR-10-LT, ratio 0.01: LDAM-DRW's imbalance_cifar.py.
  EXPECT_EQ(exponential_counts(5000, 10, 0.01), (Ints{5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50}));
  // CIFAR-100-LT, ratio 0.01: 10,847 training images in the literature.
  const Ints cifar100 = exponential_counts(500, 100, 0.01);
  EXPECT_EQ(std::accumulate(cifar100.begin(), cifar100.end(), int64_t{0}), 10847);
  EXPECT_EQ(cifar100.front(), 500);
  EXPECT_EQ(cifar100.back(), 5);
  EXPECT_EQ(exponential_counts(7, 3, 1.0), (Ints{7, 7, 7}));
  EXPECT_EQ(exponential_counts(10, 3, 0.001), (Ints{10, 1, 1}));  // never less than one
}

TEST(Imbalance, StepCounts) {
  EXPECT_EQ(step_counts(5000, 10, 0.01), (Ints{5000, 5000, 5000, 5000, 5000, 50, 50, 50, 50, 50}));
  EXPECT_EQ(step_counts(10, 5, 0.25), (Ints{10, 10, 2, 2, 2}));
  EXPECT_EQ(step_counts(10, 2, 0.01), (Ints{10, 1}));
}

TEST(Imbalance, RefusesNonsense) {
  expect_error([] { exponential_counts(0, 10, 0.1); }, {"largest class of at least 1 sample, got 0"});
  expect_error([] { exponential_counts(10, 1, 0.1); }, {"at least 2 classes, got 1"});
  expect_error([] { exponential_counts(10, 10, 0); }, {"a ratio in (0, 1], got 0"});
  expect_error([] { step_counts(10, 10, 1.5); }, {"a ratio in (0, 1], got 1.5"});
  expect_error([] { step_counts(10, 10, std::nan("")); }, {"a ratio in (0, 1], got nan"});
  expect_error([] { parse_imbalance("expo"); }, {"expected none, exp or step, got 'expo'"});
  EXPECT_EQ(parse_imbalance("exp"), Imbalance::kExponential);
  EXPECT_EQ(parse_imbalance("step"), Imbalance::kStep);
  EXPECT_EQ(parse_imbalance("none"), Imbalance::kNone);
}

TEST(Subset, HasTheCountsAndIsSortedAndUnique) {
  const Ints labels = balanced_labels(10, 500);
  const Ints subset = imbalanced_subset(labels, 10, {.ratio = 0.1, .seed = 3});
  EXPECT_EQ(counts_of(labels, subset, 10), exponential_counts(500, 10, 0.1));
  EXPECT_TRUE(std::ranges::is_sorted(subset));
  EXPECT_EQ(std::set<int64_t>(subset.begin(), subset.end()).size(), subset.size());
  const Ints step = imbalanced_subset(labels, 10, {.type = Imbalance::kStep, .n_max = 100});
  EXPECT_EQ(counts_of(labels, step, 10), step_counts(100, 10, 0.01));
  EXPECT_EQ(imbalanced_subset(labels, 10, {.type = Imbalance::kNone}), all_indices(5000));
}

TEST(Subset, DependsOnTheSeedAlone) {
  const Ints labels = balanced_labels(2, 50), counts = {30, 10};
  EXPECT_EQ(sample_subset(labels, counts, 1), sample_subset(labels, counts, 1));
  EXPECT_NE(sample_subset(labels, counts, 1), sample_subset(labels, counts, 2));
  // The same in Python with tests/golden/philox.py: smallest 64-bit keys of stream 4.
  EXPECT_EQ(sample_subset(Ints{0, 0, 0, 0, 0, 1, 1, 1, 1, 1}, Ints{3, 2}, 1), (Ints{0, 2, 3, 5, 8}));
}

TEST(Subset, ClassesAreIndependentAndSmallerIsContained) {
  const Ints labels = balanced_labels(2, 50);
  const auto of_class = [&](const Ints& subset, int64_t k) {
    Ints result;
    for (int64_t i : subset)
      if (labels[static_cast<size_t>(i)] == k) result.push_back(i);
    return result;
  };
  const Ints a = sample_subset(labels, Ints{30, 10}, 1), b = sample_subset(labels, Ints{30, 40}, 1);
  EXPECT_EQ(of_class(a, 0), of_class(b, 0));
  EXPECT_TRUE(std::ranges::includes(of_class(b, 1), of_class(a, 1)));
}

TEST(Subset, RefusesCountsThatAClassDoesNotHave) {
  const Ints labels = balanced_labels(2, 5);
  expect_error(
      [&] {
        sample_subset(labels, Ints{5, 6}, 1);
      },
      {"[sample_subset] class 1: expected a count of at most 5", "got 6"});
  expect_error([&] { sample_subset(labels, Ints{-1, 6}, 1); }, {"class 0", "got -1"});
  expect_error([&] { sample_subset(labels, Ints{5}, 1); }, {"expected a label in [0, 1), got 1"});
}

TEST(Indices, SurviveARoundTrip) {
  const TemporaryDirectory dir;
  const auto path = dir.path() / "subset.txt";
  const Ints indices = {0, 7, 3, 59999};
  save_indices(path, indices, "fashion-mnist train, exp 0.01");
  EXPECT_EQ(load_indices(path, 60000), indices);
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  EXPECT_EQ(line, "# fulcrum indices: 4 samples");
  EXPECT_FALSE(std::filesystem::exists(path.string() + ".tmp"));
}

TEST(Indices, RefusesBadLinesByNumber) {
  const TemporaryDirectory dir;
  const auto load = [&](const std::string& text) {
    return [&dir, text] { load_indices(dir.write("list.txt", text), 10); };
  };
  for (const char* bad : {"x", "10", "-1", "1.5", "1 2", "", " 1", "99999999999999999999"})
    expect_error(load(concat_text("# head\n1\n", bad, "\n2\n")),
                 {"list.txt: line 3: expected an index in [0, 10), got '", bad});
  expect_error(load("# only a head\n"), {"list.txt: expected at least one index"});
  expect_error([&] { load_indices(dir.path() / "none", 10); }, {"there is none"});
  EXPECT_EQ(load_indices(dir.write("crlf.txt", std::string("# head\r\n1\r\n2\r\n")), 10), (Ints{1, 2}));
}

TEST(Indices, SaysWhatCannotBeWritten) {
  const TemporaryDirectory dir;
  expect_error([&] { save_indices(dir.path() / "no" / "where.txt", Ints{1}); },
               {"where.txt.tmp: cannot create: No such file or directory"});
  expect_error([&] { save_indices(dir.path() / "a", Ints{1}, "two\nlines"); }, {"one line"});
  std::filesystem::create_directory(dir.path() / "taken");
  expect_error([&] { save_indices(dir.path() / "taken", Ints{1}); }, {"cannot replace"});
  EXPECT_FALSE(std::filesystem::exists(dir.path() / "taken.tmp"));
}

TEST(Split, HoldsOutTheFractionOfEachClass) {
  const Ints labels = balanced_labels(10, 100);
  const Ints subset = imbalanced_subset(labels, 10, {.ratio = 0.02, .seed = 1});
  const Split split = stratified_split(labels, subset, 0.1, 1);
  const Ints counts = counts_of(labels, subset, 10), held = counts_of(labels, split.held_out, 10);
  for (size_t k = 0; k < 10; k++)
    EXPECT_EQ(held[k], std::max<int64_t>(1, std::llround(0.1 * static_cast<double>(counts[k]))));
  Ints both = split.train;
  both.insert(both.end(), split.held_out.begin(), split.held_out.end());
  std::ranges::sort(both);
  EXPECT_EQ(both, subset);
  EXPECT_TRUE(std::ranges::is_sorted(split.train));
  EXPECT_EQ(stratified_split(labels, subset, 0.1, 1).train, split.train);
  EXPECT_NE(stratified_split(labels, subset, 0.1, 2).train, split.train);
}

TEST(Split, SmallClassesKeepOneOnEachSide) {
  // Class 0 has one sample, class 1 two, class 2 three.
  const Ints labels = {0, 1, 1, 2, 2, 2};
  const Split few = stratified_split(labels, 0.01, 1);
  EXPECT_EQ(counts_of(labels, few.held_out, 3), (Ints{1, 1, 1}));
  EXPECT_EQ(counts_of(labels, few.train, 3), (Ints{0, 1, 2}));
  const Split many = stratified_split(labels, 0.99, 1);
  EXPECT_EQ(counts_of(labels, many.held_out, 3), (Ints{1, 1, 2}));
  EXPECT_EQ(counts_of(labels, many.train, 3), (Ints{0, 1, 1}));
}

TEST(Split, RefusesNonsense) {
  const Ints labels = {0, 1};
  expect_error([&] { stratified_split(labels, 0, 1); }, {"a fraction in (0, 1), got 0"});
  expect_error([&] { stratified_split(labels, 1, 1); }, {"a fraction in (0, 1), got 1"});
  expect_error([&] { stratified_split(labels, Ints{}, 0.5, 1); }, {"at least one sample"});
  expect_error([&] { stratified_split(labels, Ints{2}, 0.5, 1); }, {"index 2 is outside [0, 2)"});
}

/// How often class a became class b.
std::vector<Ints> confusion(const Ints& clean, const Ints& noisy, int64_t classes) {
  std::vector<Ints> counts(static_cast<size_t>(classes), Ints(static_cast<size_t>(classes)));
  for (size_t i = 0; i < clean.size(); i++) counts[static_cast<size_t>(clean[i])][static_cast<size_t>(noisy[i])]++;
  return counts;
}

TEST(Noise, SymmetricIsExactPerClassAndReachesEveryOther) {
  const Ints clean = balanced_labels(10, 1000);
  const Ints noisy = add_label_noise(clean, symmetric_noise(10, 0.4), 1);
  const auto counts = confusion(clean, noisy, 10);
  for (size_t a = 0; a < 10; a++) {
    EXPECT_EQ(counts[a][a], 600);
    for (size_t b = 0; b < 10; b++) {
      // Binomial(400, 1/9): mean 44.4, deviation 6.3.
      if (b == a) continue;
      EXPECT_NEAR(static_cast<double>(counts[a][b]), 44.4, 30) << a << " to " << b;
    }
  }
  EXPECT_EQ(add_label_noise(clean, symmetric_noise(10, 0.4), 1), noisy);
  EXPECT_NE(add_label_noise(clean, symmetric_noise(10, 0.4), 2), noisy);
}

TEST(Noise, RoundsToNearestAtTheEnds) {
  const auto changed = [](int64_t n, double rate) {
    const Ints clean(static_cast<size_t>(n), 0);
    const Ints noisy = add_label_noise(clean, symmetric_noise(10, rate), 1);
    return n - std::ranges::count(noisy, 0);
  };
  EXPECT_EQ(changed(5, 0.5), 3);     // 9 · (0.5 / 9) · 5 is 2.5 or just below
  EXPECT_EQ(changed(90, 0.35), 32);  // as a sum of nine shares it is 31.499999999999996
  EXPECT_EQ(changed(3, 0.4), 1);
  EXPECT_EQ(changed(1000, 0), 0);
  EXPECT_EQ(changed(1000, 1), 1000);
  EXPECT_EQ(changed(2000000, 1), 2000000);
}

TEST(Noise, AsymmetricCifar10) {
  const Ints clean = balanced_labels(10, 50);
  const auto counts = confusion(clean, add_label_noise(clean, asymmetric_cifar10_noise(0.4), 1), 10);
  const Ints to = {0, 1, 0, 5, 7, 3, 6, 7, 8, 1};
  for (size_t a = 0; a < 10; a++) {
    const bool flips = to[a] != static_cast<int64_t>(a);
    EXPECT_EQ(counts[a][a], flips ? 30 : 50) << a;
    EXPECT_EQ(counts[a][static_cast<size_t>(to[a])], flips ? 20 : 50) << a;
  }
}

TEST(Noise, SuperclassesGoRound) {
  const TransitionMatrix t = superclass_noise(Ints{0, 1, 0, 1, 0, 2}, 0.3);
  EXPECT_EQ(t[0], (std::vector<double>{0.7, 0, 0.3, 0, 0, 0}));
  EXPECT_EQ(t[4], (std::vector<double>{0.3, 0, 0, 0, 0.7, 0}));
  EXPECT_EQ(t[3], (std::vector<double>{0, 0.3, 0, 0.7, 0, 0}));
  EXPECT_EQ(t[5], (std::vector<double>{0, 0, 0, 0, 0, 1}));  // alone
  const TransitionMatrix cifar = superclass_noise(cifar100_superclasses(), 0.2);
  check_transition_matrix(cifar);
  EXPECT_EQ(cifar[4][30], 0.2);  // beaver to dolphin
  EXPECT_EQ(cifar[95][4], 0.2);  // whale to beaver
}

TEST(Noise, OfASubsetLeavesTheRestAlone) {
  const Ints clean = balanced_labels(2, 100);
  Ints subset(100);
  std::iota(subset.begin(), subset.end(), 0);  // 50 of each class
  const Ints noisy = add_label_noise(clean, subset, symmetric_noise(2, 0.2), 1);
  EXPECT_EQ(confusion(clean, noisy, 2), (std::vector<Ints>{{90, 10}, {10, 90}}));
  EXPECT_TRUE(std::equal(clean.begin() + 100, clean.end(), noisy.begin() + 100));
}

TEST(Noise, CleanLabelsStayBesideTheNoisy) {
  InMemoryDataset data = small_dataset(40);
  const Ints clean = data.labels();
  data.set_labels(add_label_noise(data.labels(), symmetric_noise(4, 0.5), 1));
  EXPECT_NE(data.labels(), clean);
  EXPECT_EQ(data.clean_labels(), clean);
}

TEST(Noise, MatrixFiles) {
  const TemporaryDirectory dir;
  const auto load = [&](const std::string& text) { return load_transition_matrix(dir.write("t.txt", text), 2); };
  EXPECT_EQ(load("# from: rows\n0.9, 0.1\n\n0.25\t0.75\r\n"), (TransitionMatrix{{0.9, 0.1}, {0.25, 0.75}}));
  expect_error([&] { load("0.9 0.1\n0.5 x\n"); }, {"t.txt: line 2: expected numbers, got '0.5 x'"});
  expect_error([&] { load("0.9 0.1\n0.5\n"); }, {"t.txt: line 2: expected 2 numbers, got 1"});
  expect_error([&] { load("0.9 0.1\n"); }, {"t.txt: expected 2 rows, got 1"});
  expect_error([&] { load("0.9 0.1\n0.5 0.4\n"); }, {"t.txt: line 2: expected a sum of 1 (within 0.001), got 0.9"});
  expect_error([&] { load("# a\n0.5 0.498\n0 1\n"); }, {"t.txt: line 2: expected a sum of 1"});
  expect_error([&] { load("1.5 -0.5\n0 1\n"); }, {"t.txt: line 1: expected numbers in [0, 1], got 1.5"});
  expect_error([&] { load("nan 1\n0 1\n"); }, {"t.txt: line 1: expected numbers in [0, 1]"});
  // Rounded shares are brought to a sum of 1.
  const TransitionMatrix rounded = load("0.3333 0.6663\n0 1\n");
  EXPECT_NEAR(rounded[0][0], 0.3333 / 0.9996, 1e-12);
  EXPECT_NO_THROW(check_transition_matrix(rounded));
}

TEST(Noise, RefusesNonsense) {
  expect_error([] { symmetric_noise(10, 1.1); }, {"a rate in [0, 1], got 1.1"});
  expect_error([] { asymmetric_cifar10_noise(-0.1); }, {"a rate in [0, 1], got -0.1"});
  expect_error([] { symmetric_noise(1, 0.1); }, {"at least 2 classes, got 1"});
  expect_error([] { add_label_noise(Ints{0}, TransitionMatrix{}, 1); }, {"got an empty one"});
  expect_error([] { add_label_noise(Ints{0}, TransitionMatrix{{1.0, 0.0}}, 1); }, {"row 0: expected 1 entries, got 2"});
  expect_error(
      [] {
        add_label_noise(Ints{0, 2}, symmetric_noise(2, 0.1), 1);
      },
      {"sample 1: expected a label in [0, 2), got 2"});
}

}  // namespace
}  // namespace fulcrum
