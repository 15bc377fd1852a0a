// BatchSlot: loads batches one after another to the same addresses on a GPU, for a recorded step
// (core/replay.h).
//
//   BatchSlot slot(loader);
//   StagedRange staged = loader.staged(epoch);
//   while (auto next = staged.next()) {
//     slot.load(*std::move(next));    // copies on a separate stream, ahead of the step
//     step();                         // calls slot.make_images(), then uses slot.batch()
//   }
#pragma once

#include <array>
#include <memory>

#include <fulcrum/core/cuda/runtime.h>
#include <fulcrum/data/loader.h>

namespace fulcrum {

class BatchSlot {
 public:
  /// A slot for batches of the loader's batch_size (or its part of them) on the loader's device. Throws Error if that
  /// is not a GPU.
  explicit BatchSlot(const Loader& loader);
  ~BatchSlot();
  BatchSlot(const BatchSlot&) = delete;
  BatchSlot& operator=(const BatchSlot&) = delete;

  /// Starts copying a batch, which must be of full size, and returns. Work enqueued later on the compute stream sees
  /// this batch; work enqueued earlier sees the previous one. May wait for the copy of two batches ago.
  void load(StagedBatch staged);
  /// Fills batch().images from the batch loaded last. This is the first part of a step.
  void make_images();
  const Batch& batch() const { return batch_; }

 private:
  /// Staging on the device; two of them, so that one transfer can run while the step uses the other.
  struct Transfer {
    StagedBatch host;        // kept alive until its copy is complete
    Tensor columns, pixels;  // on the device
    cuda::Event arrived, taken;
  };
  std::shared_ptr<const BatchSource> source_;
  Tensor columns_, pixels_;
  Batch batch_;
  std::array<Transfer, 2> transfers_;
  size_t next_ = 0;
};

}  // namespace fulcrum
