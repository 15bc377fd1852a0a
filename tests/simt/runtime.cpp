// core/cuda/runtime.h on the CPU: FULCRUM_SIMT_DEVICES devices (one by default), whose memory is the host's. A capture
// records work, and a replay runs it. Waiting for the device during a capture throws Error, as on a GPU.
#include <fulcrum/core/cuda/runtime.h>

#include <cstdlib>
#include <cstring>

#include "memory.h"
#include "recorder.h"

namespace fulcrum::cuda {

namespace {
thread_local int current = 0;

void refuse_capture(const char* what) {
  check(!simt::recording, "[simt] ", what, " waits for the device: not allowed while a graph is captured");
}
}  // namespace

int device_count() { return simt::device_count(); }
std::string why_no_device() { return ""; }
std::string describe_device(int) { return "SIMT emulator"; }
void use_device(int index) {
  check(index >= 0 && index < device_count(), "[cuda] expected a device below cuda:", device_count(),
        ", got cuda:", index);
  current = index;
}
int current_device() { return current; }

void* try_allocate(Device device, size_t bytes) {
  use_device(device.index);
  return simt::memory().take(device, bytes);
}
void release(Device device, void* block) noexcept { simt::memory().give(device, block); }
void* try_allocate_pinned(size_t bytes) { return std::aligned_alloc(256, bytes); }
void release_pinned(void* block) noexcept { std::free(block); }
std::string memory_report() {
  return concat_text("; free on the device: ", simt::memory().left({Device::Kind::kCuda, current}),
                     " bytes; a smaller batch, --recompute or --amp bf16 needs less");
}
size_t free_memory(Device device) { return simt::memory().left(device); }

Stream compute_stream() { return nullptr; }
Stream copy_stream() { return nullptr; }
void synchronize(Stream) { refuse_capture("synchronize"); }

void copy(void* to, Device to_device, const void* from, Device from_device, size_t bytes) {
  if (to_device.is_cpu() || from_device.is_cpu()) refuse_capture("a copy from or to the host");
  else if (to_device != from_device) refuse_capture("a copy between devices");
  use_device(to_device.is_cpu() ? from_device.index : to_device.index);
  copy_async(to, to_device, from, from_device, bytes, nullptr);
}
void copy_async(void* to, Device to_device, const void* from, Device from_device, size_t bytes, Stream) {
  simt::enqueue([=] { simt::memory().copy(to, to_device, from, from_device, bytes); });
}
void set_bytes(void* block, int value, size_t bytes) {
  simt::enqueue([=] { std::memset(block, value, bytes); });
}

Event::Event() : event_(nullptr) {}
Event::~Event() = default;
void Event::record(Stream) {}
void Event::hold(Stream) const {}
void Event::synchronize() const { refuse_capture("Event::synchronize"); }

struct Graph::Impl {
  int device;
  simt::Work work;
};

Graph::Graph(const std::function<void()>& step) : impl_(std::make_unique<Impl>()) {
  check(!simt::recording, "[simt] a capture inside a capture");
  impl_->device = current;
  simt::recording = &impl_->work;
  try {
    step();
  } catch (...) {
    simt::recording = nullptr;
    throw;
  }
  simt::recording = nullptr;
}
Graph::~Graph() = default;
void Graph::replay() {
  simt::memory().enter(impl_->device);
  for (const auto& work : impl_->work) work();
}
int64_t Graph::launches() const { return static_cast<int64_t>(impl_->work.size()); }

}  // namespace fulcrum::cuda

namespace simt {

void enqueue(std::function<void()> work) {
  if (recording) return recording->push_back(std::move(work));
  memory().enter(fulcrum::cuda::current_device());
  work();
}

}  // namespace simt
