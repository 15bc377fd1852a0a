// Replay: records a step that does the same every time as a CUDA graph, and replays the graph.
//
//   Replay step(device, [&] { train(input); });     // input, weights, …: tensors that stay where they are
//   for (…) {
//     input.copy_from(batch);
//     step();                                       // the third call records; from then on, one launch
//   }
//
// Whatever changes from step to step must be values in tensors that exist before the step. Host values
// that the step reads are frozen by the recording; restart() records anew. The step must not read from
// the device, nor wait for it. Tensors that the step creates live in a private pool, at fixed
// addresses. The first two calls run eagerly, to build plans and fill the pool. On the CPU every call
// runs the step.
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
  /// Runs `other` in the recorded step's memory between two calls. It should need less memory than the step; tensors
  /// that it creates are overwritten by the next call.
  void eagerly(const std::function<void()>& other);
  /// Discards the recording: the next two calls run eagerly, and the third records again.
  void restart();
  bool recorded() const { return graph_ != nullptr; }
  /// The number of kernels, copies and fills in the recording; 0 before there is one.
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
