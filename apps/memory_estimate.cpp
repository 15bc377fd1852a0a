#include "apps/memory_estimate.h"

#include <algorithm>

#include <fmt/format.h>

#include <fulcrum/core/cuda/runtime.h>
#include <fulcrum/core/memory.h>

#include "apps/machine.h"
#include "apps/model_summary.h"

namespace fulcrum::apps {

MemoryEstimate estimate_memory(const Config& config, Module& model, const Shape& image, int64_t batch) {
  const SavedActivations saved = saved_for_backward(model, {1, image[0], image[1], image[2]});
  int64_t trained = 0, largest_weight = 0;
  for (const Tensor& p : model.parameters()) {
    if (!p.requires_grad()) continue;
    trained += p.numel();
    largest_weight = std::max(largest_weight, p.numel());
  }
  const DType dtype = activation_dtype(config);
  const bool twins = dtype == DType::kBf16;
  const int64_t slots = config.optim.name == "sgd" ? config.optim.momentum > 0 : 2;
  const int64_t parameters = model.num_parameters();
  MemoryEstimate e;
  e.state = parameters * (twins ? 6 : 4) + trained * 4 * (1 + slots);
  if (config.train.ema_decay > 0) e.state += parameters * 4;
  e.activations = batch * saved.bytes(dtype);
  // Two gradients of the largest result live at a time, plus the deferred sums into weight gradients. A frozen part
  // keeps nothing for the backward pass, but a residual block holds six results at a time: its input, the inputs and
  // outputs of two layers, and their scratch.
  const int64_t in_hand = trained < parameters ? 6 : 2;
  constexpr int64_t kMostPending = int64_t{16} << 20;
  e.working = in_hand * batch * saved.largest * static_cast<int64_t>(size_of(dtype)) + 4 * largest_weight +
              std::min(4 * trained, kMostPending);
  return e;
}

std::string text_of(const MemoryEstimate& e) {
  const auto mib = [](int64_t bytes) { return static_cast<double>(bytes) / 1048576; };
  return fmt::format(
      "about {:.0f} MiB without the data: {:.0f} for activations, {:.0f} for weights and optimiser state, {:.0f} for "
      "temporaries",
      mib(e.total()), mib(e.activations), mib(e.state), mib(e.working));
}

std::vector<std::string> memory_lines(const MemoryEstimate& e, Device device, const Communicator& processes) {
  std::vector<std::string> lines = {(processes.size() > 1 ? "memory of each process: " : "memory: ") + text_of(e)};
  // The processes of a machine share its memory, but each has a GPU of its own.
  const double available = device.is_cpu()
                               ? available_memory() / processes.local_size()
                               : static_cast<double>(cuda::free_memory(device) + memory_stats(device).reserved);
  if (static_cast<double>(e.total()) > available)
    lines.push_back(fmt::format(
        "warning: {:.0f} MiB of memory are available{}; to need less, use --recompute, or a smaller --batch-size "
        "with --accumulate",
        available / 1048576, processes.local_size() > 1 ? " to each process" : ""));
  return lines;
}

}  // namespace fulcrum::apps
