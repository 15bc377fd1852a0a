// Label noise: some samples of each class get the label of another.
//
//   train.set_labels(add_label_noise(train.labels(), symmetric_noise(10, 0.4), /*seed=*/1));
//   train.labels();         // noisy: what the loader hands out
//   train.clean_labels();   // what they were
//
// Noise is a transition matrix T, [C][C], rows summing to 1: T[a][b] is the share of class a that
// is labelled b. The number of samples of a class that change is exact, round((1 − T[a][a]) · n);
// which they are and what they become is drawn by Philox from (seed, index of the sample).
#pragma once

#include <filesystem>
#include <span>
#include <vector>

#include <fulcrum/data/dataset.h>

namespace fulcrum {

using TransitionMatrix = std::vector<std::vector<double>>;

/// Rate r to the other classes: 1 − r on the diagonal, r/(C−1) beside it. Some papers draw the new
/// label among all classes; their rate r' is r = r'·(C−1)/C here.
TransitionMatrix symmetric_noise(int64_t classes, double rate);
/// truck → automobile, bird → airplane, cat ↔ dog, deer → horse (Patrini et al., CVPR 2017), each
/// at `rate`.
TransitionMatrix asymmetric_cifar10_noise(double rate);
/// To the next class of the same superclass, the last to the first, at `rate`. `superclasses` has
/// one entry a class (cifar100_superclasses()). A class alone in its superclass stays as it is.
TransitionMatrix superclass_noise(std::span<const int64_t> superclasses, double rate);
/// One row a line, numbers in [0, 1] separated by spaces or commas, with a sum of 1 within 0.001,
/// which is then made exact; # starts a comment line. Errors name the file and the line.
TransitionMatrix load_transition_matrix(const std::filesystem::path& path, int64_t classes);

/// Throws an Error unless T is square with entries in [0, 1] and rows that sum to 1 (within 1e-6).
void check_transition_matrix(const TransitionMatrix& transition);

/// The noisy labels, one for each of `labels` (each in [0, C)).
std::vector<int64_t> add_label_noise(std::span<const int64_t> labels, const TransitionMatrix& transition,
                                     uint64_t seed);
/// The same for the samples in `indices` alone: the exact counts are of their classes.
std::vector<int64_t> add_label_noise(std::span<const int64_t> labels, std::span<const int64_t> indices,
                                     const TransitionMatrix& transition, uint64_t seed);

}  // namespace fulcrum
