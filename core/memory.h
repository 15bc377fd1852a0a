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
#include <fulcrum/core/write_log.h>

namespace fulcrum {

/// All sizes in bytes.
struct MemoryStats {
  size_t allocated = 0;        // in use now
  size_t reserved = 0;         // taken from the system: in use + cached
  size_t peak = 0;             // largest `allocated` since start or reset_peak_memory
  size_t system_requests = 0;  // number of times that the system was asked
};

/// Of all pools of a device.
MemoryStats memory_stats(Device device);
void reset_peak_memory(Device device);
/// Returns cached blocks to the system.
void empty_cache(Device device);

class MemoryPool;

/// One block of device memory, aligned to 256 bytes unless borrowed. Not copyable; shared through shared_ptr.
class Storage {
 public:
  /// Contents are undefined. Throws OutOfMemory, an Error.
  static std::shared_ptr<Storage> allocate(Device device, size_t bytes);
  /// Host memory from which a GPU copies while the host goes on; plain memory without a GPU.
  static std::shared_ptr<Storage> allocate_pinned(size_t bytes);
  /// Memory of somebody else (an array of NumPy), of any alignment, which `owner` keeps as long as this lives.
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
  std::shared_ptr<MemoryPool> pool_;  // lives as long as its last block; null where the memory is borrowed
  std::shared_ptr<void> owner_;       // of borrowed memory
  Device device_;
  void* data_;
  size_t bytes_;  // of the block, at least what was asked for; of borrowed memory as given
  WriteLog writes_;
};

/// A pool of one's own: while a Use lives on this thread, memory of the pool's device comes from it.
/// A recorded step (replay.h) keeps its addresses in one.
class PrivatePool {
 public:
  explicit PrivatePool(Device device);

  enum class Fit { kExact, kLarger };  // kLarger: a free block may be larger than what is asked for

  class Use {
   public:
    explicit Use(const PrivatePool& pool, Fit fit = Fit::kExact);
    ~Use();
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

   private:
    std::shared_ptr<MemoryPool> previous_;
    Fit previous_fit_;
  };

  /// While it lives on this thread memory comes from the device's common pool again.
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
