// One model in several processes, each of which has a part of every batch: what the layers must know of it.
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

/// What part of each batch a process has; read in every forward pass. The program changes it from batch to batch.
struct BatchPart {
  Communicator* communicator = nullptr;
  Slice own;          // its samples: rows [begin, end) of the batch; empty: x is a stand-in
  int64_t total = 0;  // samples of the whole batch
};

/// From now on dropout draws for the whole batch and, with `sync_batch_norm`, batch norm takes its statistics over the
/// whole batch.
void distribute(Module& model, const std::shared_ptr<const BatchPart>& part, bool sync_batch_norm);

/// Replaces each floating buffer by its mean over all processes: every process took its running statistics from its own
/// part of the batch.
void average_over_processes(const std::vector<NamedTensor>& buffers, Communicator& communicator);

}  // namespace fulcrum
