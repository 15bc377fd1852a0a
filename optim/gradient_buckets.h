// GradientBuckets: sums gradients over processes while the backward pass is still running.
//
//   GradientBuckets buckets(parameters, arena, communicator);
//   { Listening on(buckets); objective.backward(); }     // sends each bucket when its last gradient is complete
//   buckets.finish();                                     // all gradients are sums over the processes
//
// A bucket is a range of the gradient arena. The first bucket holds the last parameters, whose gradients are complete
// first. Every process sends the buckets in this order. Without Listening, finish() sends all of them.
#pragma once

#include <unordered_map>
#include <vector>

#include <fulcrum/core/arena.h>
#include <fulcrum/core/autograd.h>
#include <fulcrum/core/communicator.h>

namespace fulcrum {

class GradientBuckets : public BackwardListener {
 public:
  GradientBuckets(const std::vector<Tensor>& parameters, const Arena& arena, Communicator& communicator);
  bool leaf_done(const Node& leaf) override;
  void summed() override;
  void advance() override { communicator_.advance(); }
  /// Sends the remaining buckets and waits for all sums; call it once per step.
  void finish();
  int64_t count() const { return static_cast<int64_t>(buckets_.size()); }

 private:
  struct Bucket {
    Tensor grads;                     // a view of the arena
    int parameters = 0, missing = 0;  // missing: parameters whose gradients are not complete yet
  };
  Communicator& communicator_;
  std::vector<Bucket> buckets_;
  std::unordered_map<const Node*, size_t> bucket_of_;
  size_t next_ = 0;  // the first bucket that has not been sent
};

}  // namespace fulcrum
