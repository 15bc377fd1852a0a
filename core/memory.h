// Memory: refcounted blocks from a caching pool.
//
//   std::shared_ptr<Storage> block = Storage::allocate(Device("cpu"), 1 << 20);
//   MemoryStats s = memory_stats(Device("cpu"));   // s.allocated, s.reserved, s.peak
//
// A training step asks for the same sizes every time. The pool keeps what is freed and hands it out
// again, so that after the first steps the system is not asked for memory: a process that returns
// its pages every step spends more time in page faults than in arithmetic (docs/performance.md).
#pragma once

#include <cstddef>
#include <memory>

#include <fulcrum/core/types.h>

namespace fulcrum {

/// All sizes in bytes.
struct MemoryStats {
  size_t allocated = 0;       // in use now
  size_t reserved = 0;        // taken from the system: in use + cached
  size_t peak = 0;            // largest `allocated` since start or reset_peak_memory
  size_t system_requests = 0;  // number of times that the system was asked
};

MemoryStats memory_stats(Device device);
void reset_peak_memory(Device device);
/// Returns cached blocks to the system.
void empty_cache(Device device);

/// One block of device memory, aligned to 256 bytes. Not copyable; shared through shared_ptr.
class Storage {
 public:
  /// Contents are undefined. Throws Error when the system has no memory.
  static std::shared_ptr<Storage> allocate(Device device, size_t bytes);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  Device device() const { return device_; }

 private:
  Storage(Device device, void* data, size_t bytes) : device_(device), data_(data), bytes_(bytes) {}
  Device device_;
  void* data_;
  size_t bytes_;  // rounded up to the pool's size class
};

}  // namespace fulcrum
