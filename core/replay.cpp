#include <fulcrum/core/replay.h>

#include <utility>

namespace fulcrum {

Replay::Replay(Device device, std::function<void()> step) : device_(device), step_(std::move(step)), pool_(device) {}

void Replay::operator()() {
  if (device_.is_cpu()) return step_();
  cuda::use_device(device_.index);
  if (graph_) return graph_->replay();
  const PrivatePool::Use own(pool_);
  if (calls_++ < kEagerCalls) return step_();
  graph_ = std::make_unique<cuda::Graph>(step_);
  graph_->replay();
}

void Replay::restart() {
  if (graph_) cuda::synchronize(cuda::compute_stream());
  graph_.reset();
  calls_ = 0;
}

}  // namespace fulcrum
