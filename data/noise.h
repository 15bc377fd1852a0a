// add_label_noise: label noise, which gives some samples of each class the label of another class.
//
//   train.set_labels(add_label_noise(train.labels(), symmetric_noise(10, 0.4), /*seed=*/1));
//   train.labels();         // noisy: what the loader hands out
//   train.clean_labels();   // the labels before noise
//
// Noise is given by a transition matrix T, [C][C], with rows summing to 1: T[a][b] is the fraction of class a
// that gets label b. The number of samples of a class that change is exact, round((1 − T[a][a]) · n).
// Which samples change, and to which label, is drawn by Philox from (seed, index of the sample).
#pragma once

#include <filesystem>
#include <span>
#include <vector>

#include <fulcrum/data/dataset.h>

namespace fulcrum {

using TransitionMatrix = std::vector<std::vector<double>>;

/// Noise of rate r, uniform over the other classes: 1 − r on the diagonal, r/(C−1) off it. Some papers draw the
/// new label from all classes, including the own one; their rate r' corresponds to r = r'·(C−1)/C here.
TransitionMatrix symmetric_noise(int64_t classes, double rate);
/// truck → automobile, bird → airplane, cat ↔ dog, deer → horse (Patrini et al., CVPR 2017), each
/// at `rate`.
TransitionMatrix asymmetric_cifar10_noise(double rate);
/// Each class changes to the next class of its superclass, the last to the first, at `rate`. `superclasses` has
/// one entry per class (cifar100_superclasses()). A class that is alone in its superclass does not change.
TransitionMatrix superclass_noise(std::span<const int64_t> superclasses, double rate);
/// Reads a matrix from a text file: one row per line, numbers in [0, 1] separated by spaces, tabs or commas; # starts a
/// comment line. Rows must sum to 1 within 0.001 and are then normalised. Errors name the file and the line.
TransitionMatrix load_transition_matrix(const std::filesystem::path& path, int64_t classes);

/// Throws an Error unless T is square with entries in [0, 1] and rows that sum to 1 (within 1e-6).
void check_transition_matrix(const TransitionMatrix& transition);

/// Returns noisy labels, one for each of `labels`, which must be in [0, C).
std::vector<int64_t> add_label_noise(std::span<const int64_t> labels, const TransitionMatrix& transition,
                                     uint64_t seed);
/// The same, but only the samples in `indices` can change; the exact counts refer to these samples.
std::vector<int64_t> add_label_noise(std::span<const int64_t> labels, std::span<const int64_t> indices,
                                     const TransitionMatrix& transition, uint64_t seed);

}  // namespace fulcrum
