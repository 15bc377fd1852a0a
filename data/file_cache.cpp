#include <fulcrum/data/file_cache.h>

namespace fulcrum {

FileCache::FileCache(size_t count, size_t bytes)
    : count_(count), files_(std::make_unique<std::atomic<const Bytes*>[]>(count)), room_(static_cast<int64_t>(bytes)) {}

FileCache::~FileCache() {
  for (size_t i = 0; i < count_; i++) delete files_[i].load(std::memory_order_relaxed);
}

void FileCache::keep(size_t index, std::span<const uint8_t> file) const {
  const auto size = static_cast<int64_t>(file.size());
  if (room_.load(std::memory_order_relaxed) < size) return;
  if (room_.fetch_sub(size, std::memory_order_relaxed) >= size) {
    auto bytes = std::make_unique<const Bytes>(file.begin(), file.end());
    const Bytes* none = nullptr;
    if (files_[index].compare_exchange_strong(none, bytes.get(), std::memory_order_acq_rel)) {
      bytes.release();
      return;
    }
  }
  room_.fetch_add(size, std::memory_order_relaxed);  // another thread has taken the room or kept the same file
}

}  // namespace fulcrum
