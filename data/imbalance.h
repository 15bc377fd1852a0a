// Long-tailed and stepped subsets of a balanced data set, index lists, stratified splits.
//
//   auto subset = imbalanced_subset(train.labels(), train.classes(),
//                                   {.type = Imbalance::kExponential, .ratio = 0.01, .seed = 1});
//   save_indices("run/train_indices.txt", subset);
//   Split split = stratified_split(train.labels(), subset, /*fraction=*/0.1, /*seed=*/1);
//
// Which samples are taken is drawn by Philox from (seed, index of the sample) alone: the draw of
// one class does not depend on the others, and a subset with smaller counts is contained in one
// with larger counts under the same seed.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <fulcrum/data/dataset.h>

namespace fulcrum {

enum class Imbalance { kNone, kExponential, kStep };
/// "none", "exp" or "step"; anything else is an Error.
Imbalance parse_imbalance(std::string_view name);

/// ⌊n_max · ratio^(k/(C−1))⌋ for k = 0, …, C−1, at least 1 (Cui et al., CVPR 2019, as implemented
/// by LDAM-DRW). ratio in (0, 1] is the smallest class over the largest.
std::vector<int64_t> exponential_counts(int64_t n_max, int64_t classes, double ratio);
/// n_max for the first ⌊C/2⌋ classes, ⌊n_max · ratio⌋ for the rest, at least 1 (Buda et al., 2018).
std::vector<int64_t> step_counts(int64_t n_max, int64_t classes, double ratio);

struct ImbalanceOptions {
  Imbalance type = Imbalance::kExponential;
  double ratio = 0.01;
  int64_t n_max = 0;  // 0: the size of the largest class
  uint64_t seed = 0;
};

/// counts[k] samples of each class k, as sorted indices. An Error where a class has fewer.
std::vector<int64_t> sample_subset(std::span<const int64_t> labels, std::span<const int64_t> counts, uint64_t seed);
/// The counts of `options`, sampled.
std::vector<int64_t> imbalanced_subset(std::span<const int64_t> labels, int64_t classes,
                                       const ImbalanceOptions& options);

struct Split {
  std::vector<int64_t> train, held_out;  // sorted
};
/// Holds out round(fraction · n) of the n samples of each class: at least one, and at most n − 1
/// where n ≥ 2. fraction in (0, 1).
Split stratified_split(std::span<const int64_t> labels, double fraction, uint64_t seed);
/// The same for the samples in `indices`.
Split stratified_split(std::span<const int64_t> labels, std::span<const int64_t> indices, double fraction,
                       uint64_t seed);

/// Writes one index a line under `# ` lines: what the list is, and how many there are. An Error,
/// with no file left behind, where it cannot be written.
void save_indices(const std::filesystem::path& path, std::span<const int64_t> indices, const std::string& comment = "");
/// Reads such a list; lines that start with # are comments. An Error names the line that is not an
/// index in [0, size).
std::vector<int64_t> load_indices(const std::filesystem::path& path, int64_t size);

}  // namespace fulcrum
