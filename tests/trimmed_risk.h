// The risk of docs/own-risk.md, which is made of operations.
#pragma once

#include <algorithm>
#include <cmath>

#include <fulcrum/core/ops.h>
#include <fulcrum/optim/risk.h>

#include "testing.h"

namespace fulcrum::testing {

/// Only the smallest losses of a batch have a weight.
class TrimmedRisk : public Risk {
 public:
  explicit TrimmedRisk(double share, Device device = {}) : Risk(device), share_(share) {}
  const char* name() const override { return "trimmed"; }
  Tensor weights(const Tensor& losses, const BatchContext&) override {
    const int64_t kept = std::max<int64_t>(1, std::llround((1 - share_) * static_cast<double>(losses.numel())));
    Tensor p = zeros_like(losses);
    index_copy_(p, 0, topk(losses, kept, 0, /*largest=*/false).indices,
                full({kept}, 1 / static_cast<double>(kept), options_of(losses)));
    add_to_summary(p);
    return p;
  }

 private:
  double share_;
};

}  // namespace fulcrum::testing
