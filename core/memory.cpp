#include <fulcrum/core/memory.h>

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <utility>

#include <fulcrum/core/cuda/runtime.h>
#include <fulcrum/core/memory_pool.h>

namespace fulcrum {

namespace {

constexpr size_t kAlignment = 256;
constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kManyClasses = size_t{1} << 20;

void* allocate_host(size_t bytes) {
  const size_t alignment = bytes >= kHugePage ? kHugePage : kAlignment;
  void* block = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  // Huge pages: fewer TLB misses for activations. A kernel that does not support them ignores the advice.
  if (block && bytes >= kHugePage) madvise(block, bytes, MADV_HUGEPAGE);
  return block;
}

// Never destroyed: static tensors may outlive any static object.
MemoryAccount& account_of(Device device) {
  if (device.is_cpu()) {
    static auto* cpu = new MemoryAccount(device);
    return *cpu;
  }
  check(cuda::kBuilt, "[memory] this build has no back-end for device ", device);
  static auto* accounts = new std::map<int, MemoryAccount>;
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  return accounts->try_emplace(device.index, device).first->second;
}

std::shared_ptr<MemoryPool> make_pool(Device device, bool pinned = false) {
  return std::make_shared<MemoryPool>(device, account_of(device), pinned);
}

const std::shared_ptr<MemoryPool>& pool_of(Device device) { return account_of(device).pool; }

const std::shared_ptr<MemoryPool>& pinned_pool() {
  static const auto* pool = new auto(make_pool(Device(), /*pinned=*/true));
  return *pool;
}

thread_local std::shared_ptr<MemoryPool> private_pool;
thread_local PrivatePool::For private_use = PrivatePool::For::kEagerStep;

/// Takes a block. If the system is out of memory, returns free blocks (all of other sizes) to it and tries again: the
/// pool's and, for a private pool, the common pool's. Those of a private pool stay where their addresses belong to a
/// recorded step. While a step is being recorded nothing may be freed, so the error is passed on.
void* take_or_release(MemoryPool& pool, size_t& bytes) {
  const bool own = &pool == private_pool.get();
  const auto fit =
      own && private_use == PrivatePool::For::kOtherWork ? MemoryPool::Fit::kLarger : MemoryPool::Fit::kExact;
  try {
    return pool.take(bytes, fit);
  } catch (const OutOfMemory&) {
    if (private_pool && private_use == PrivatePool::For::kRecording) throw;
    if (own) pool_of(pool.device())->release_cached();
    if (!own || private_use == PrivatePool::For::kEagerStep) pool.release_cached();
    return pool.take(bytes, fit);
  }
}

}  // namespace

size_t size_class(size_t bytes) {
  if (bytes <= kAlignment) return kAlignment;
  const size_t classes = bytes > kManyClasses ? 32 : 8;
  const size_t step = std::max(kAlignment, std::bit_floor(bytes - 1) / classes);
  return (bytes + step - 1) / step * step;
}

MemoryAccount::MemoryAccount(Device device) : pool(std::make_shared<MemoryPool>(device, *this)) {}

void* MemoryPool::take(size_t& bytes, Fit fit) {
  const std::lock_guard lock(account_.mutex);
  void* block = nullptr;
  auto it = free_.lower_bound(bytes);
  const bool larger = fit == Fit::kLarger;
  while (larger && it != free_.end() && it->second.empty()) it++;
  if (it != free_.end() && !it->second.empty() && (larger || it->first == bytes)) {
    bytes = it->first;
    block = it->second.back();
    it->second.pop_back();
  } else {
    block = from_system(bytes);
  }
  account_.stats.allocated += bytes;
  account_.stats.peak = std::max(account_.stats.peak, account_.stats.allocated);
  return block;
}

void MemoryPool::give(void* block, size_t bytes) {
  const std::lock_guard lock(account_.mutex);
  free_[bytes].push_back(block);
  account_.stats.allocated -= bytes;
}

void MemoryPool::release_cached() {
  const std::lock_guard lock(account_.mutex);
  for (auto& [bytes, blocks] : free_) {
    for (void* b : blocks) {
      if (!device_.is_cpu()) cuda::release(device_, b);
      else if (pinned_) cuda::release_pinned(b);
      else std::free(b);
    }
    account_.stats.reserved -= bytes * blocks.size();
    blocks.clear();
  }
}

void* MemoryPool::try_system(size_t bytes) {
  if (!device_.is_cpu()) return cuda::try_allocate(device_, bytes);
  return pinned_ ? cuda::try_allocate_pinned(bytes) : allocate_host(bytes);
}

void* MemoryPool::from_system(size_t bytes) {
  void* block = try_system(bytes);
  if (!block)
    throw OutOfMemory(concat_text(
        "[memory] ", device_.is_cpu() ? "the system" : device_.str(), " has no ", bytes, " bytes left (in use: ",
        account_.stats.allocated, ", cached: ", account_.stats.reserved - account_.stats.allocated, ")",
        device_.is_cpu() ? "; a smaller batch or --recompute needs less" : cuda::memory_report()));
  account_.stats.reserved += bytes;
  account_.stats.system_requests++;
  return block;
}

MemoryStats memory_stats(Device device) {
  MemoryAccount& account = account_of(device);
  const std::lock_guard lock(account.mutex);
  return account.stats;
}

void reset_peak_memory(Device device) {
  MemoryAccount& account = account_of(device);
  const std::lock_guard lock(account.mutex);
  account.stats.peak = account.stats.allocated;
}

void empty_cache(Device device) { pool_of(device)->release_cached(); }

Storage::Storage(std::shared_ptr<MemoryPool> pool, size_t bytes)
    : pool_(std::move(pool)), device_(pool_->device()), data_(take_or_release(*pool_, bytes)), bytes_(bytes) {}

std::shared_ptr<Storage> Storage::allocate(Device device, size_t bytes) {
  const bool own = private_pool && private_pool->device() == device;
  return std::shared_ptr<Storage>(new Storage(own ? private_pool : pool_of(device), size_class(bytes)));
}

std::shared_ptr<Storage> Storage::allocate_pinned(size_t bytes) {
  const bool useful = cuda::kBuilt && cuda::device_count() > 0;
  return std::shared_ptr<Storage>(new Storage(useful ? pinned_pool() : pool_of(Device()), size_class(bytes)));
}

Storage::Storage(Device device, void* data, size_t bytes, std::shared_ptr<void> owner)
    : owner_(std::move(owner)), device_(device), data_(data), bytes_(bytes) {}

std::shared_ptr<Storage> Storage::borrow(Device device, void* data, size_t bytes, std::shared_ptr<void> owner) {
  check(data != nullptr && owner != nullptr, "[memory] expected memory and its owner to borrow from, got null");
  return std::shared_ptr<Storage>(new Storage(device, data, bytes, std::move(owner)));
}

Storage::~Storage() {
  if (pool_) pool_->give(data_, bytes_);
}

PrivatePool::PrivatePool(Device device) : pool_(make_pool(device)) {}

PrivatePool::Use::Use(const PrivatePool& pool, For use)
    : previous_(std::exchange(private_pool, pool.pool_)), previous_use_(std::exchange(private_use, use)) {}
PrivatePool::Use::~Use() {
  private_pool = std::move(previous_);
  private_use = previous_use_;
}

PrivatePool::Pause::Pause() : paused_(std::exchange(private_pool, nullptr)) {}
PrivatePool::Pause::~Pause() { private_pool = std::move(paused_); }

}  // namespace fulcrum
