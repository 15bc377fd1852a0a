// Replay: a step that does the same every time, recorded once as a CUDA graph and replayed.
//
//   Replay step(device, [&] { train(input); });     // input, weights, …: tensors that stay where they are
//   for (…) {
//     input.copy_from(batch);
//     step();                                       // the third call records, from then on one launch
//   }
//
// All that changes from step to step must be numbers in tensors that exist before the step; a host
// number that the step reads is frozen by the recording (restart() records anew). The step must not
// read from the device, nor wait for it. Its own tensors live in a private pool, at addresses that
// stay; the first two calls run eagerly, so that plans are built and the pool is filled. On the CPU
// every call runs the step.
#pragma once

#include <functional>
#include <memory>

#include <fulcrum/core/cuda/runtime.h>
#include <fulcrum/core/memory.h>

namespace fulcrum {

class Replay {
 public:
  Replay(Device device, std::function<void()> step);
  void operator()();
  /// Runs something else, and smaller, in the memory that the step leaves free between two calls. Tensors that it makes
  /// hold numbers until the next call alone.
  void eagerly(const std::function<void()>& other);
  /// Forgets the recording: the next calls run eagerly, then record again.
  void restart();
  bool recorded() const { return graph_ != nullptr; }
  /// Kernels, copies and fills of the recording; 0 before there is one.
  int64_t launches() const { return graph_ ? graph_->launches() : 0; }

 private:
  void replay();

  static constexpr int kEagerCalls = 2;
  Device device_;
  std::function<void()> step_;
  PrivatePool pool_;
  std::unique_ptr<cuda::Graph> graph_;  // after pool_: destroyed before the memory it uses
  int calls_ = 0;
};

}  // namespace fulcrum
