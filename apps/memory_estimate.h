// What memory a training step will need, from shapes alone: before a long run, and on machines other
// than this one.
//
//   const MemoryEstimate e = estimate_memory(config, *model, {32, 32, 3}, config.train.batch_size);
//   text_of(e);                                   // "about 310 MiB beside the data: 250 of activations, …"
//
// With --sync-bn a run keeps a little more: the results of batch norms that a pool reads.
// tests/program_estimate_test.cpp holds it against the peak of real steps.
#pragma once

#include <string>
#include <vector>

#include <fulcrum/core/communicator.h>

#include "apps/config.h"
#include "apps/experiment.h"

namespace fulcrum::apps {

/// In bytes, beside the data set.
struct MemoryEstimate {
  int64_t state = 0;        // parameters, gradients, optimiser, moving averages
  int64_t activations = 0;  // of a batch, kept until the backward pass
  int64_t working = 0;      // gradients of activations and weights on their way
  int64_t total() const { return state + activations + working; }
};

/// For steps of `batch` images [H, W, C]. The network is on the host, and evaluates one image; it stays as it is.
MemoryEstimate estimate_memory(const Config& config, Module& model, const Shape& image, int64_t batch);

std::string text_of(const MemoryEstimate& estimate);
/// What a run says before it begins: the estimate for a process, and a warning where the machine has less than its
/// processes need on the CPU.
std::vector<std::string> memory_lines(const MemoryEstimate& estimate, Device device, const Communicator& processes);

}  // namespace fulcrum::apps
