#include <fulcrum/data/imbalance.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>

#include <fulcrum/core/random.h>
#include <fulcrum/core/serialize.h>
#include <fulcrum/data/draw.h>
#include <fulcrum/data/file.h>

namespace fulcrum {

Imbalance parse_imbalance(std::string_view name) {
  if (name == "none") return Imbalance::kNone;
  if (name == "exp") return Imbalance::kExponential;
  if (name == "step") return Imbalance::kStep;
  fail("[imbalance] expected none, exp or step, got '", name, "'");
}

namespace {
void check_counts_input(int64_t n_max, int64_t classes, double ratio) {
  check(n_max >= 1, "[imbalance] expected a largest class of at least 1 sample, got ", n_max);
  check(classes >= 2, "[imbalance] expected at least 2 classes, got ", classes);
  check(ratio > 0 && ratio <= 1, "[imbalance] expected a ratio in (0, 1], got ", ratio);
}

int64_t at_least_one(double count) { return std::max(int64_t{1}, static_cast<int64_t>(count)); }
}  // namespace

std::vector<int64_t> exponential_counts(int64_t n_max, int64_t classes, double ratio) {
  check_counts_input(n_max, classes, ratio);
  std::vector<int64_t> counts;
  for (int64_t k = 0; k < classes; k++) {
    // The order of operations is LDAM-DRW's, so that rounding falls the same way.
    const double exponent = static_cast<double>(k) / (static_cast<double>(classes) - 1.0);
    counts.push_back(at_least_one(static_cast<double>(n_max) * std::pow(ratio, exponent)));
  }
  return counts;
}

std::vector<int64_t> step_counts(int64_t n_max, int64_t classes, double ratio) {
  check_counts_input(n_max, classes, ratio);
  std::vector<int64_t> counts(static_cast<size_t>(classes), n_max);
  std::fill(counts.begin() + classes / 2, counts.end(), at_least_one(static_cast<double>(n_max) * ratio));
  return counts;
}

std::vector<int64_t> sample_subset(std::span<const int64_t> labels, std::span<const int64_t> counts, uint64_t seed) {
  const auto classes = static_cast<int64_t>(counts.size());
  check_labels(labels, classes, "[sample_subset] ");
  const Philox philox(seed, streams::kSubset);
  const auto members = shuffled_members(labels, all_indices(std::ssize(labels)), classes, philox);
  std::vector<int64_t> subset;
  for (size_t k = 0; k < counts.size(); k++) {
    check(counts[k] >= 0 && counts[k] <= std::ssize(members[k]), "[sample_subset] class ", k,
          ": expected a count of at most ", members[k].size(), ", the samples it has, got ", counts[k]);
    subset.insert(subset.end(), members[k].begin(), members[k].begin() + counts[k]);
  }
  std::ranges::sort(subset);
  return subset;
}

std::vector<int64_t> imbalanced_subset(std::span<const int64_t> labels, int64_t classes,
                                       const ImbalanceOptions& options) {
  if (options.type == Imbalance::kNone) return all_indices(std::ssize(labels));
  const int64_t n_max = options.n_max > 0 ? options.n_max : std::ranges::max(class_counts(labels, classes));
  const auto counts = options.type == Imbalance::kExponential ? exponential_counts(n_max, classes, options.ratio)
                                                              : step_counts(n_max, classes, options.ratio);
  return sample_subset(labels, counts, options.seed);
}

Split stratified_split(std::span<const int64_t> labels, double fraction, uint64_t seed) {
  return stratified_split(labels, all_indices(std::ssize(labels)), fraction, seed);
}

Split stratified_split(std::span<const int64_t> labels, std::span<const int64_t> indices, double fraction,
                       uint64_t seed) {
  check(fraction > 0 && fraction < 1, "[split] expected a fraction in (0, 1), got ", fraction);
  check(!indices.empty() && !labels.empty(), "[split] expected at least one sample, got none");
  const int64_t classes = std::ranges::max(labels) + 1;
  check_labels(labels, classes, "[split] ");
  const Philox philox(seed, streams::kSplit);
  Split split;
  for (const auto& members : shuffled_members(labels, indices, classes, philox)) {
    const int64_t n = std::ssize(members);
    const int64_t wanted = std::llround(fraction * static_cast<double>(n));
    const int64_t least = std::min<int64_t>(n, 1);
    const int64_t held = std::clamp(wanted, least, std::max(n - 1, least));
    split.held_out.insert(split.held_out.end(), members.begin(), members.begin() + held);
    split.train.insert(split.train.end(), members.begin() + held, members.end());
  }
  std::ranges::sort(split.train);
  std::ranges::sort(split.held_out);
  return split;
}

void save_indices(const std::filesystem::path& path, std::span<const int64_t> indices, const std::string& comment) {
  check(comment.find_first_of("\r\n") == std::string::npos, "[indices] expected a comment of one line");
  std::string text = concat_text("# fulcrum indices: ", indices.size(), " samples\n");
  if (!comment.empty()) text += "# " + comment + '\n';
  for (const int64_t index : indices) text += std::to_string(index) + '\n';
  write_file_atomically(path, {text});
}

std::vector<int64_t> load_indices(const std::filesystem::path& path, int64_t size) {
  const std::vector<std::string> lines = read_lines(path, "indices");
  std::vector<int64_t> indices;
  for (size_t i = 0; i < lines.size(); i++) {
    const std::string& line = lines[i];
    if (line.starts_with('#')) continue;
    int64_t index = -1;
    const char* last = line.data() + line.size();
    const auto [end, error] = std::from_chars(line.data(), last, index);
    check(error == std::errc{} && end == last && index >= 0 && index < size, "[indices] ", path.string(), ": line ",
          i + 1, ": expected an index in [0, ", size, "), got '", line, "'");
    indices.push_back(index);
  }
  check(!indices.empty(), "[indices] ", path.string(), ": expected at least one index, got none");
  return indices;
}

}  // namespace fulcrum
