// Data-parallel training: tells the layers of a model which part of each batch this process computes.
//
//   auto part = std::make_shared<BatchPart>();
//   distribute(model, part, /*sync_batch_norm=*/true);
//   *part = {&world, slice_of(total, world.rank(), world.size()), total};    // before each batch
#pragma once

#include <memory>
#include <vector>

#include <fulcrum/core/communicator.h>
#include <fulcrum/layers/module.h>

namespace fulcrum {

/// The part of the current batch that this process has. The program updates it before each batch; layers read it in
/// every forward pass.
struct BatchPart {
  Communicator* communicator = nullptr;
  Slice own;          // this process's samples: rows [begin, end) of the whole batch; empty: x is a stand-in
  int64_t total = 0;  // samples of the whole batch
};

/// Makes every Dropout of the model draw its masks for the whole batch and, with `sync_batch_norm`, every BatchNorm
/// compute its statistics over the whole batch.
void distribute(Module& model, const std::shared_ptr<const BatchPart>& part, bool sync_batch_norm);

/// Replaces each floating-point buffer by its mean over all processes, because each process has updated its running
/// statistics from its own part of the batch.
void average_over_processes(const std::vector<NamedTensor>& buffers, Communicator& communicator);

}  // namespace fulcrum
