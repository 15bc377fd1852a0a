// Estimates the memory of a training step from shapes alone, before a long run or for another machine.
//
//   const MemoryEstimate e = estimate_memory(config, *model, {32, 32, 3}, config.train.batch_size);
//   text_of(e);                                   // "about 310 MiB beside the data: 250 of activations, …"
//
// With --sync-bn a run needs slightly more: it keeps the results of batch norms that a pool reads.
// tests/program_estimate_test.cpp compares the estimate with the peak of real steps.
#pragma once

#include <string>
#include <vector>

#include <fulcrum/core/communicator.h>

#include "apps/config.h"
#include "apps/experiment.h"

namespace fulcrum::apps {

/// In bytes, without the data set.
struct MemoryEstimate {
  int64_t state = 0;        // parameters, gradients, optimiser, moving averages
  int64_t activations = 0;  // of a batch, kept until the backward pass
  int64_t working = 0;      // gradients of activations and weights in flight
  int64_t total() const { return state + activations + working; }
};

/// The estimate for steps of `batch` images [H, W, C]. Evaluates one image with the model, which is on the host and
/// stays unchanged.
MemoryEstimate estimate_memory(const Config& config, Module& model, const Shape& image, int64_t batch);

std::string text_of(const MemoryEstimate& estimate);
/// The lines that a run prints before it begins: the estimate for a process, and a warning if less memory is available
/// (on the CPU, to each of the machine's processes; else on the GPU).
std::vector<std::string> memory_lines(const MemoryEstimate& estimate, Device device, const Communicator& processes);

}  // namespace fulcrum::apps
