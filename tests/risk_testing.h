// What the tests of risks share: batches of losses, and sums of weights.
#pragma once

#include <limits>
#include <numeric>
#include <vector>

#include "testing.h"

namespace fulcrum::testing {

inline constexpr double kInfinity = std::numeric_limits<double>::infinity();
inline constexpr DType kDTypes[] = {DType::kF64, DType::kF32};

using Values = std::vector<double>;

inline Tensor losses_of(int64_t batch, uint64_t stream, double scale, DType dtype = DType::kF64) {
  return random_tensor({batch}, stream, 0, scale, dtype);
}

inline Tensor vector_of(const Values& v) { return from_vector({static_cast<int64_t>(v.size())}, v, {DType::kF64, {}}); }

inline double total(const Values& p) { return std::accumulate(p.begin(), p.end(), 0.0); }
inline double total(const Tensor& p) { return total(p.to_vector()); }

}  // namespace fulcrum::testing
