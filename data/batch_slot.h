// BatchSlot: batches on a GPU, one after another at the same addresses, for a recorded step
// (core/replay.h).
//
//   BatchSlot slot(loader);
//   StagedRange staged = loader.staged(epoch);
//   while (auto next = staged.next()) {
//     slot.load(*std::move(next));    // copies run on their own stream, ahead of the step
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
  /// For batches of the loader's batch_size (or its part of them), on its device, which must be a GPU.
  explicit BatchSlot(const Loader& loader);
  ~BatchSlot();
  BatchSlot(const BatchSlot&) = delete;
  BatchSlot& operator=(const BatchSlot&) = delete;

  /// Of full size. Returns at once; work enqueued later sees the batch, work before it the previous.
  void load(StagedBatch staged);
  /// Fills batch().images from what was loaded last: the first part of a step.
  void make_images();
  const Batch& batch() const { return batch_; }

 private:
  /// Two transfers may be under way.
  struct Transfer {
    StagedBatch host;        // kept until the copy is done
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
