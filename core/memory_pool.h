// The caching pool behind Storage, for one device: keeps freed blocks and hands them out again.
//
// On a GPU everything runs in one compute stream, so a block can be reused as soon as the host drops
// it: kernels that still read it were enqueued before any kernel that will write it.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include <fulcrum/core/memory.h>

namespace fulcrum {

class MemoryPool;

/// What the pools of a device share: the statistics over all of them, a lock, and the common pool.
struct MemoryAccount {
  explicit MemoryAccount(Device device);
  std::mutex mutex;
  MemoryStats stats;
  const std::shared_ptr<MemoryPool> pool;
};

class MemoryPool {
 public:
  MemoryPool(Device device, MemoryAccount& account, bool pinned = false)
      : device_(device), account_(account), pinned_(pinned) {}
  ~MemoryPool() { release_cached(); }
  MemoryPool(const MemoryPool&) = delete;
  MemoryPool& operator=(const MemoryPool&) = delete;

  enum class Fit { kExact, kLarger };  // kLarger: a larger free block will do
  /// Takes a block. `bytes` must be a size class; on return it is the size of the block. Throws OutOfMemory.
  void* take(size_t& bytes, Fit fit = Fit::kExact);
  void give(void* block, size_t bytes);
  void release_cached();
  Device device() const { return device_; }

 private:
  void* from_system(size_t bytes);
  void* try_system(size_t bytes);

  Device device_;
  MemoryAccount& account_;
  bool pinned_;  // host memory that a GPU can copy from asynchronously
  std::map<size_t, std::vector<void*>> free_;
};

/// Rounds up to a size class. There are 8 per octave, so that batches of slightly different size (the last of an epoch)
/// still find a block. Above 1 MiB there are 32, which wastes at most 3 %; activations of (7·2ⁿ)² pixels fit exactly.
size_t size_class(size_t bytes);

}  // namespace fulcrum
