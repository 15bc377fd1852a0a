// imbalanced_subset, stratified_split, …: long-tailed and step-imbalanced subsets of a balanced data set, stratified
// splits, and files of indices.
//
//   auto subset = imbalanced_subset(train.labels(), train.classes(),
//                                   {.type = Imbalance::kExponential, .ratio = 0.01, .seed = 1});
//   save_indices("run/train_indices.txt", subset);
//   Split split = stratified_split(train.labels(), subset, /*fraction=*/0.1, /*seed=*/1);
//
// Samples are drawn by Philox from (seed, index of the sample) only: the draw of one class does not depend
// on the other classes, and a subset with smaller counts is contained in one with larger counts and the
// same seed.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <fulcrum/data/dataset.h>

namespace fulcrum {

enum class Imbalance { kNone, kExponential, kStep };
/// Parses "none", "exp" or "step"; throws Error for anything else.
Imbalance parse_imbalance(std::string_view name);

/// ⌊n_max · ratio^(k/(C−1))⌋ for k = 0, …, C−1, at least 1 (Cui et al., CVPR 2019, as implemented
/// by LDAM-DRW). `ratio`, in (0, 1], is the size of the smallest class over that of the largest.
std::vector<int64_t> exponential_counts(int64_t n_max, int64_t classes, double ratio);
/// n_max for the first ⌊C/2⌋ classes, ⌊n_max · ratio⌋ for the rest, at least 1 (Buda et al., 2018).
std::vector<int64_t> step_counts(int64_t n_max, int64_t classes, double ratio);

struct ImbalanceOptions {
  Imbalance type = Imbalance::kExponential;
  double ratio = 0.01;
  int64_t n_max = 0;  // 0: the size of the largest class
  uint64_t seed = 0;
};

/// Draws counts[k] samples of each class k; returns sorted indices. Throws Error if a class has fewer samples.
std::vector<int64_t> sample_subset(std::span<const int64_t> labels, std::span<const int64_t> counts, uint64_t seed);
/// Draws a subset with the class counts that `options` describe. Imbalance::kNone returns all indices.
std::vector<int64_t> imbalanced_subset(std::span<const int64_t> labels, int64_t classes,
                                       const ImbalanceOptions& options);

struct Split {
  std::vector<int64_t> train, held_out;  // sorted
};
/// Holds out round(fraction · n) of the n samples of each class, but at least one and, if n ≥ 2, at most
/// n − 1. `fraction` is in (0, 1).
Split stratified_split(std::span<const int64_t> labels, double fraction, uint64_t seed);
/// The same, restricted to the samples in `indices`.
Split stratified_split(std::span<const int64_t> labels, std::span<const int64_t> indices, double fraction,
                       uint64_t seed);

/// Writes one index per line, after `# ` lines with the number of indices and the one-line comment. Throws Error, and
/// leaves no file behind, if it cannot be written.
void save_indices(const std::filesystem::path& path, std::span<const int64_t> indices, const std::string& comment = "");
/// Reads such a list; lines that start with # are comments. Throws Error, naming the line, if a line is not an
/// index in [0, size), and if there are no indices.
std::vector<int64_t> load_indices(const std::filesystem::path& path, int64_t size);

}  // namespace fulcrum
