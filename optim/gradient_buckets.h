// Gradients summed over processes while the backward pass goes on.
//
//   GradientBuckets buckets(parameters, arena, communicator);
//   { Listening on(buckets); objective.backward(); }     // a bucket leaves with its last gradient
//   buckets.finish();                                     // all gradients are sums over the processes
//
// A bucket is a range of the arena of gradients; the first has the last parameters, whose gradients come first.
// Buckets leave in this order in every process. Without Listening all leave at finish().
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
  void finish();
  int64_t count() const { return static_cast<int64_t>(buckets_.size()); }

 private:
  struct Bucket {
    Tensor grads;  // a view of the arena
    int parameters = 0, missing = 0;
  };
  Communicator& communicator_;
  std::vector<Bucket> buckets_;
  std::unordered_map<const Node*, size_t> bucket_of_;
  size_t next_ = 0;  // the first bucket that has not left
};

}  // namespace fulcrum
