// core/cuda/runtime.h on the CPU: one device, whose memory is the host's. A capture records work, and a replay runs it.
// Waiting for the device during a capture throws Error, as on a GPU.
#include <fulcrum/core/cuda/runtime.h>

#include <malloc.h>

#include <cstdlib>
#include <cstring>

#include "recorder.h"

namespace fulcrum::cuda {

namespace {
int current = 0;

void refuse_capture(const char* what) {
  check(!simt::recording, "[simt] ", what, " waits for the device: not allowed while a graph is captured");
}
}  // namespace

int device_count() { return 1; }
std::string why_no_device() { return ""; }
std::string describe_device(int) { return "SIMT emulator"; }
void use_device(int index) {
  check(index == 0, "[cuda] expected a device below cuda:1, got cuda:", index);
  current = index;
}
int current_device() { return current; }

namespace {

// The memory that the device has left of FULCRUM_SIMT_MEMORY bytes; without this variable there is no limit.
class DeviceMemory {
 public:
  bool take(size_t bytes) {
    if (bytes > left_) return false;
    left_ -= bytes;
    return true;
  }
  void give(size_t bytes) { left_ += bytes; }
  size_t left() const { return left_; }
  bool limited() const { return limit_ != nullptr; }

 private:
  const char* limit_ = std::getenv("FULCRUM_SIMT_MEMORY");
  size_t left_ = limit_ ? std::strtoull(limit_, nullptr, 10) : size_t{1} << 30;
};
DeviceMemory& device_memory() {
  static DeviceMemory memory;
  return memory;
}

}  // namespace

// Filled with NaN, so that a read of unwritten memory shows; ASan finds accesses out of bounds.
void* try_allocate(Device, size_t bytes) {
  DeviceMemory& memory = device_memory();
  if (memory.limited() && !memory.take(bytes)) return nullptr;
  void* block = std::aligned_alloc(256, bytes);
  if (block) std::memset(block, 0xFF, bytes);
  return block;
}
void release(Device, void* block) noexcept {
  if (device_memory().limited()) device_memory().give(malloc_usable_size(block));
  std::free(block);
}
void* try_allocate_pinned(size_t bytes) { return std::aligned_alloc(256, bytes); }
void release_pinned(void* block) noexcept { std::free(block); }
std::string memory_report() {
  return concat_text("; free on the device: ", device_memory().left(),
                     " bytes; a smaller batch, --recompute or --amp bf16 needs less");
}
size_t free_memory(Device) { return device_memory().left(); }

Stream compute_stream() { return nullptr; }
Stream copy_stream() { return nullptr; }
void synchronize(Stream) { refuse_capture("synchronize"); }

void copy(void* to, Device to_device, const void* from, Device from_device, size_t bytes) {
  if (to_device.is_cpu() || from_device.is_cpu()) refuse_capture("a copy from or to the host");
  copy_async(to, to_device, from, from_device, bytes, nullptr);
}
void copy_async(void* to, Device, const void* from, Device, size_t bytes, Stream) {
  simt::enqueue([=] { std::memmove(to, from, bytes); });
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
  simt::Work work;
};

Graph::Graph(const std::function<void()>& step) : impl_(std::make_unique<Impl>()) {
  check(!simt::recording, "[simt] a capture inside a capture");
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
  for (const auto& work : impl_->work) work();
}
int64_t Graph::launches() const { return static_cast<int64_t>(impl_->work.size()); }

}  // namespace fulcrum::cuda
