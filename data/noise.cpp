#include <fulcrum/data/noise.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

#include <fulcrum/core/random.h>
#include <fulcrum/data/draw.h>
#include <fulcrum/data/file.h>

namespace fulcrum {

namespace {

void check_rate(double rate) { check(rate >= 0 && rate <= 1, "[noise] expected a rate in [0, 1], got ", rate); }

TransitionMatrix identity(int64_t classes) {
  check(classes >= 2, "[noise] expected at least 2 classes, got ", classes);
  const auto n = static_cast<size_t>(classes);
  TransitionMatrix t(n, std::vector<double>(n, 0.0));
  for (size_t k = 0; k < n; k++) t[k][k] = 1;
  return t;
}

void flip(TransitionMatrix& t, int64_t from, int64_t to, double rate) {
  auto& row = t[static_cast<size_t>(from)];
  row[static_cast<size_t>(from)] = 1 - rate;
  row[static_cast<size_t>(to)] = rate;
}

/// The fraction of class `from` that changes to another class.
double leaving(const std::vector<double>& row, size_t from) {
  double share = 0;
  for (size_t k = 0; k < row.size(); k++)
    if (k != from) share += row[k];
  return share;
}

/// Draws a class with the row's off-diagonal entries as relative probabilities; `u` is uniform in [0, 1).
int64_t target(const std::vector<double>& row, size_t from, double u) {
  double rest = u * leaving(row, from);
  size_t last = from;
  for (size_t k = 0; k < row.size(); k++) {
    if (k == from || row[k] <= 0) continue;
    last = k;
    if (rest < row[k]) break;
    rest -= row[k];
  }
  return static_cast<int64_t>(last);
}

std::vector<double> parse_row(const std::string& line, const std::string& where) {
  std::vector<double> row;
  const char* at = line.data();
  const char* const last = at + line.size();
  const auto separator = [](char c) { return c == ' ' || c == ',' || c == '\t'; };
  while (true) {
    while (at != last && separator(*at)) at++;
    if (at == last) return row;
    double value = 0;
    const auto [end, error] = std::from_chars(at, last, value);
    check(error == std::errc{} && (end == last || separator(*end)), where, ": expected numbers, got '", line, "'");
    row.push_back(value);
    at = end;
  }
}

/// Scales a row to sum to 1. Files have few decimals, so that three times a third is not exactly one.
std::vector<double> normalised_row(std::vector<double> row, const std::string& where) {
  double sum = 0;
  for (const double share : row) {
    check(share >= 0 && share <= 1, where, ": expected numbers in [0, 1], got ", share);
    sum += share;
  }
  check(std::abs(sum - 1) <= 1e-3, where, ": expected a sum of 1 (within 0.001), got ", sum);
  for (double& share : row) share /= sum;
  return row;
}

}  // namespace

TransitionMatrix symmetric_noise(int64_t classes, double rate) {
  check_rate(rate);
  TransitionMatrix t = identity(classes);
  const double share = rate / static_cast<double>(classes - 1);
  for (size_t a = 0; a < t.size(); a++)
    for (size_t b = 0; b < t.size(); b++) t[a][b] = a == b ? 1 - rate : share;
  return t;
}

TransitionMatrix asymmetric_cifar10_noise(double rate) {
  check_rate(rate);
  TransitionMatrix t = identity(10);
  constexpr std::pair<int, int> kFlips[] = {{9, 1}, {2, 0}, {3, 5}, {5, 3}, {4, 7}};
  for (const auto& [from, to] : kFlips) flip(t, from, to, rate);
  return t;
}

TransitionMatrix superclass_noise(std::span<const int64_t> superclasses, double rate) {
  check_rate(rate);
  const int64_t classes = std::ssize(superclasses);
  TransitionMatrix t = identity(classes);
  for (int64_t from = 0; from < classes; from++) {
    for (int64_t step = 1; step < classes; step++) {
      const int64_t to = (from + step) % classes;
      if (superclasses[static_cast<size_t>(to)] != superclasses[static_cast<size_t>(from)]) continue;
      flip(t, from, to, rate);
      break;
    }
  }
  return t;
}

TransitionMatrix load_transition_matrix(const std::filesystem::path& path, int64_t classes) {
  const std::vector<std::string> lines = read_lines(path, "noise");
  TransitionMatrix t;
  for (size_t i = 0; i < lines.size(); i++) {
    const std::string where = concat_text("[noise] ", path.string(), ": line ", i + 1);
    if (lines[i].starts_with('#')) continue;
    std::vector<double> row = parse_row(lines[i], where);
    if (row.empty()) continue;
    check(std::ssize(row) == classes, where, ": expected ", classes, " numbers, got ", row.size());
    t.push_back(normalised_row(std::move(row), where));
  }
  check(std::ssize(t) == classes, "[noise] ", path.string(), ": expected ", classes, " rows, got ", t.size());
  check_transition_matrix(t);
  return t;
}

void check_transition_matrix(const TransitionMatrix& transition) {
  check(!transition.empty(), "[noise] expected a transition matrix, got an empty one");
  for (size_t a = 0; a < transition.size(); a++) {
    const auto& row = transition[a];
    check(row.size() == transition.size(), "[noise] transition matrix, row ", a, ": expected ", transition.size(),
          " entries, got ", row.size());
    double sum = 0;
    for (const double share : row) {
      check(share >= 0 && share <= 1, "[noise] transition matrix, row ", a, ": expected entries in [0, 1], got ",
            share);
      sum += share;
    }
    check(std::abs(sum - 1) <= 1e-6, "[noise] transition matrix, row ", a, ": expected a sum of 1, got ", sum);
  }
}

std::vector<int64_t> add_label_noise(std::span<const int64_t> labels, const TransitionMatrix& transition,
                                     uint64_t seed) {
  return add_label_noise(labels, all_indices(std::ssize(labels)), transition, seed);
}

std::vector<int64_t> add_label_noise(std::span<const int64_t> labels, std::span<const int64_t> indices,
                                     const TransitionMatrix& transition, uint64_t seed) {
  check_transition_matrix(transition);
  const int64_t classes = std::ssize(transition);
  check_labels(labels, classes, "[noise] ");
  const Philox philox(seed, streams::kNoise);
  std::vector<int64_t> noisy(labels.begin(), labels.end());
  const auto members = shuffled_members(labels, indices, classes, philox);
  for (size_t a = 0; a < members.size(); a++) {
    // 1e-9 makes sums such as 9 · (0.5 / 9), which may come out just below a half, round up.
    const double expected = leaving(transition[a], a) * static_cast<double>(members[a].size());
    const auto changed = std::min(members[a].size(), static_cast<size_t>(std::floor(expected + 0.5 + 1e-9)));
    for (size_t i = 0; i < changed; i++) {
      const int64_t index = members[a][i];
      // Words 0 and 1 of the block are the sort key (draw_key).
      const uint32_t word = philox.block(static_cast<uint64_t>(index)).w[2];
      noisy[static_cast<size_t>(index)] = target(transition[a], a, word * 0x1p-32);
    }
  }
  return noisy;
}

}  // namespace fulcrum
