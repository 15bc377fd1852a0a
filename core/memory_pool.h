// The caching pool behind Storage, for one device: what is freed is kept and handed out again.
//
// On a GPU everything runs in one compute stream, so a block can be reused as soon as the host drops
// it: whatever still reads it was enqueued before whatever will write it.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include <fulcrum/core/memory.h>

namespace fulcrum {

class MemoryPool;

/// What all pools of a device have taken together, the lock that they share, and the common one.
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

  /// `bytes` must be a size class, and is the block's size afterwards. Throws Error when the system has none left.
  void* take(size_t& bytes, PrivatePool::Fit fit = PrivatePool::Fit::kExact);
  void give(void* block, size_t bytes);
  void release_cached();
  Device device() const { return device_; }

 private:
  void* from_system(size_t bytes);
  void* try_system(size_t bytes);

  Device device_;
  MemoryAccount& account_;
  bool pinned_;  // host memory that the device can copy from while the host goes on
  std::map<size_t, std::vector<void*>> free_;
};

/// Eight size classes an octave, so that batches of slightly different size (the last of an epoch) still find a block; from
/// a MiB on 32, of which at most 3 % is wasted: activations of 7·2ⁿ pixels, squared, fit exactly.
size_t size_class(size_t bytes);

}  // namespace fulcrum
