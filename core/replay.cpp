#include <fulcrum/core/replay.h>

#include <utility>

#include <fulcrum/core/last_op.h>

namespace fulcrum {

Replay::Replay(Device device, std::function<void()> step) : device_(device), step_(std::move(step)), pool_(device) {}

void Replay::operator()() {
  if (device_.is_cpu()) return step_();
  cuda::use_device(device_.index);
  if (graph_) return replay();
  const bool records = calls_++ >= kEagerCalls;
  const PrivatePool::Use own(pool_, records ? PrivatePool::For::kRecording : PrivatePool::For::kEagerStep);
  if (!records) return step_();
  graph_ = std::make_unique<cuda::Graph>(step_);
  replay();
}

void Replay::replay() {
  note_replay();
  graph_->replay();
}

void Replay::eagerly(const std::function<void()>& other) {
  if (device_.is_cpu()) return other();
  const PrivatePool::Use own(pool_, PrivatePool::For::kOtherWork);
  other();
}

void Replay::restart() {
  if (graph_) cuda::synchronize(cuda::compute_stream());
  graph_.reset();
  calls_ = 0;
}

}  // namespace fulcrum
