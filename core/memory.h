// Memory: refcounted blocks from a caching pool.
//
//   std::shared_ptr<Storage> block = Storage::allocate(Device("cpu"), 1 << 20);
//   MemoryStats s = memory_stats(Device("cpu"));   // s.allocated, s.reserved, s.peak
//
// Every training step allocates the same sizes. The pool keeps freed blocks and hands them out again,
// so that after the first steps no memory is requested from the system: a process that returns its
// pages every step spends more time in page faults than in arithmetic (docs/performance.md).
#pragma once

#include <cstddef>
#include <memory>

#include <fulcrum/core/types.h>
#include <fulcrum/core/write_log.h>

namespace fulcrum {

/// All sizes in bytes.
struct MemoryStats {
  size_t allocated = 0;        // in use now
  size_t reserved = 0;         // taken from the system: in use + cached
  size_t peak = 0;             // largest `allocated` since start or reset_peak_memory
  size_t system_requests = 0;  // number of allocations from the system
};

/// Returns totals over all pools of a device.
MemoryStats memory_stats(Device device);
void reset_peak_memory(Device device);
/// Returns the free blocks of the device's common pool to the system.
void empty_cache(Device device);

class MemoryPool;

/// One block of device memory, aligned to 256 bytes unless borrowed. Not copyable; shared through shared_ptr.
class Storage {
 public:
  /// Returns a block with undefined contents. Throws OutOfMemory, which is an Error.
  static std::shared_ptr<Storage> allocate(Device device, size_t bytes);
  /// Returns pinned host memory, from which a GPU can copy asynchronously; ordinary memory if there is no GPU.
  static std::shared_ptr<Storage> allocate_pinned(size_t bytes);
  /// Wraps memory owned elsewhere (e.g. a NumPy array), of any alignment; `owner` keeps it alive.
  static std::shared_ptr<Storage> borrow(Device device, void* data, size_t bytes, std::shared_ptr<void> owner);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  Device device() const { return device_; }
  bool is_borrowed() const { return owner_ != nullptr; }
  WriteLog& writes() { return writes_; }

 private:
  Storage(std::shared_ptr<MemoryPool> pool, size_t bytes);
  Storage(Device device, void* data, size_t bytes, std::shared_ptr<void> owner);
  std::shared_ptr<MemoryPool> pool_;  // lives as long as its last block; null if borrowed
  std::shared_ptr<void> owner_;       // of borrowed memory
  Device device_;
  void* data_;
  size_t bytes_;  // size of the block, at least the requested size; if borrowed, the size given
  WriteLog writes_;
};

/// A separate pool: while a Use of it is alive, this thread's allocations on the pool's device come from it.
/// A recorded step (replay.h) has one, so that its addresses stay reserved.
class PrivatePool {
 public:
  explicit PrivatePool(Device device);

  enum class For {
    kEagerStep,  // nothing is recorded yet: blocks of exactly the requested sizes
    kRecording,  // the same, while nothing may be freed
    kOtherWork,  // between two replays: a larger free block may serve a request
  };

  class Use {
   public:
    Use(const PrivatePool& pool, For use);
    ~Use();
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

   private:
    std::shared_ptr<MemoryPool> previous_;
    For previous_use_;
  };

  /// While alive, this thread's allocations come from the device's common pool again.
  class Pause {
   public:
    Pause();
    ~Pause();
    Pause(const Pause&) = delete;
    Pause& operator=(const Pause&) = delete;

   private:
    std::shared_ptr<MemoryPool> paused_;
  };

 private:
  std::shared_ptr<MemoryPool> pool_;
};

}  // namespace fulcrum
