// Per-class vectors for losses on imbalanced data, computed from the class counts of a training set.
// The losses add, subtract or multiply them:
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

/// (1−β)/(1−βⁿ), scaled so that they sum to C (Cui et al. 2019). A class without samples gets 0.
Tensor class_balanced_weights(const std::vector<int64_t>& counts, double beta);

/// τ·log(n/Σn) (Menon et al. 2021; τ = 1: balanced softmax, Ren et al. 2020). A class without samples
/// is treated as having one, so that the logarithm is finite.
Tensor log_prior(const std::vector<int64_t>& counts, double tau = 1);

/// max_m·(min n/n)^¼ (Cao et al. 2019). Throws Error if a class has no samples: its margin would be infinite.
Tensor ldam_margins(const std::vector<int64_t>& counts, double max_m = 0.5);

/// (max n/n)^γ, the temperatures of CDT (Ye et al. 2020); with γ = 0 all are 1. Throws Error if a class has no samples.
Tensor class_temperatures(const std::vector<int64_t>& counts, double gamma);

}  // namespace fulcrum
