// Vectors with a number for each class, made of the class counts of a training set: what losses for
// imbalanced data add, subtract or multiply.
//
//   cross_entropy(z, y, {.adjust = log_prior(counts)});                          // balanced softmax
//   cross_entropy(cosines, y, {.margin = ldam_margins(counts), .scale = 30});    // LDAM
//   cross_entropy(z, y, {.class_weight = class_balanced_weights(counts, 0.9999)});
//
// All are f32 [C]; sources and formulas in docs/method.md.
#pragma once

#include <cstdint>
#include <vector>

#include <fulcrum/core/tensor.h>

namespace fulcrum {

/// (1−β)/(1−βⁿ), scaled to the sum C (Cui et al. 2019); a class with no samples gets 0.
Tensor class_balanced_weights(const std::vector<int64_t>& counts, double beta);

/// τ·log(n/Σn) (Menon et al. 2021; τ = 1: balanced softmax, Ren et al. 2020). A class with no
/// samples is given the prior of one with a single sample: its logarithm has to be finite.
Tensor log_prior(const std::vector<int64_t>& counts, double tau = 1);

/// max_m·(min n/n)^¼ (Cao et al. 2019). A class with no samples is an Error: its margin is
/// infinite.
Tensor ldam_margins(const std::vector<int64_t>& counts, double max_m = 0.5);

/// (max n/n)^γ, temperatures of the classes (CDT, Ye et al. 2020); γ = 0: all 1. A class with no
/// samples is an Error.
Tensor class_temperatures(const std::vector<int64_t>& counts, double gamma);

}  // namespace fulcrum
