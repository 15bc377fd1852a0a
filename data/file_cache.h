// FileCache: keeps files in memory after their first reading, as many as fit.
//
//   FileCache files(paths.size(), /*bytes=*/size_t{256} << 20);
//   const std::span<const uint8_t> file = files.get(i, [&] { return read_image_file(paths[i]); });
//
// Opening and reading a small file takes a quarter of the time of decoding it, and more from a disk or over a network.
// Any number of threads may call get() at the same time.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace fulcrum {

class FileCache {
 public:
  /// A cache for files 0 to count − 1 that keeps up to `bytes` bytes.
  FileCache(size_t count, size_t bytes);
  ~FileCache();
  FileCache(const FileCache&) = delete;
  FileCache& operator=(const FileCache&) = delete;

  /// Returns file `index` from the cache, or else the result of read(), a copy of which is kept if there is room.
  template <class Read>
  std::span<const uint8_t> get(size_t index, Read read) const {
    if (const Bytes* kept = files_[index].load(std::memory_order_acquire)) return *kept;
    const std::span<const uint8_t> file = read();
    keep(index, file);
    return file;
  }

 private:
  using Bytes = std::vector<uint8_t>;
  void keep(size_t index, std::span<const uint8_t> file) const;

  size_t count_;
  std::unique_ptr<std::atomic<const Bytes*>[]> files_;
  mutable std::atomic<int64_t> room_;
};

}  // namespace fulcrum
