#include <fulcrum/core/memory.h>

#include <sys/mman.h>

#include <bit>
#include <cstdlib>
#include <map>
#include <mutex>
#include <vector>

namespace fulcrum {

namespace {

constexpr size_t kAlignment = 256;
constexpr size_t kHugePage = size_t{2} << 20;

// Eight size classes an octave: at most 12.5 % is wasted, and batches of slightly different size
// (the last of an epoch) still find a block.
size_t size_class(size_t bytes) {
  if (bytes <= kAlignment) return kAlignment;
  const size_t step = std::max(kAlignment, std::bit_floor(bytes - 1) / 8);
  return (bytes + step - 1) / step * step;
}

class CpuPool {
 public:
  void* take(size_t bytes) {
    const std::lock_guard lock(mutex_);
    void* block = nullptr;
    if (auto it = free_.find(bytes); it != free_.end() && !it->second.empty()) {
      block = it->second.back();
      it->second.pop_back();
    } else {
      block = from_system(bytes);
    }
    stats_.allocated += bytes;
    stats_.peak = std::max(stats_.peak, stats_.allocated);
    return block;
  }

  void give(void* block, size_t bytes) {
    const std::lock_guard lock(mutex_);
    free_[bytes].push_back(block);
    stats_.allocated -= bytes;
  }

  MemoryStats stats() {
    const std::lock_guard lock(mutex_);
    return stats_;
  }

  void reset_peak() {
    const std::lock_guard lock(mutex_);
    stats_.peak = stats_.allocated;
  }

  void release_cached() {
    const std::lock_guard lock(mutex_);
    for (auto& [bytes, blocks] : free_) {
      for (void* b : blocks) std::free(b);
      stats_.reserved -= bytes * blocks.size();
      blocks.clear();
    }
  }

 private:
  void* from_system(size_t bytes) {
    const size_t alignment = bytes >= kHugePage ? kHugePage : kAlignment;
    void* block = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
    check(block != nullptr, "[memory] the system has no ", bytes, " bytes left (in use: ",
          stats_.allocated, ", cached: ", stats_.reserved - stats_.allocated,
          "); a smaller batch needs less");
    // Fewer TLB misses for activations; a kernel that does not support it ignores the advice.
    if (bytes >= kHugePage) madvise(block, bytes, MADV_HUGEPAGE);
    stats_.reserved += bytes;
    stats_.system_requests++;
    return block;
  }

  std::mutex mutex_;
  std::map<size_t, std::vector<void*>> free_;
  MemoryStats stats_;
};

// Never destroyed: static tensors may outlive any static pool.
CpuPool& cpu_pool() {
  static CpuPool* pool = new CpuPool;
  return *pool;
}

CpuPool& pool_of(Device device) {
  check(device.is_cpu(), "[memory] this build has no back-end for device ", device);
  return cpu_pool();
}

}  // namespace

MemoryStats memory_stats(Device device) { return pool_of(device).stats(); }
void reset_peak_memory(Device device) { pool_of(device).reset_peak(); }
void empty_cache(Device device) { pool_of(device).release_cached(); }

std::shared_ptr<Storage> Storage::allocate(Device device, size_t bytes) {
  const size_t rounded = size_class(bytes);
  void* data = pool_of(device).take(rounded);
  return std::shared_ptr<Storage>(new Storage(device, data, rounded));
}

Storage::~Storage() { pool_of(device_).give(data_, bytes_); }

}  // namespace fulcrum
