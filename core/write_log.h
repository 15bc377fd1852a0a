// WriteLog: which bytes of a storage were written in place, and when. What a graph has saved there is checked against it
// before a gradient uses it (Saved in autograd.h).
//
//   const uint64_t saved_at = storage->writes().now();
//   …
//   check(!storage->writes().any_since(saved_at, begin, end), …);
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

namespace fulcrum {

class WriteLog {
 public:
  uint64_t now() const { return now_; }
  /// Bytes [begin, end) were written.
  void add(size_t begin, size_t end);
  bool any_since(uint64_t time, size_t begin, size_t end) const;

 private:
  struct Write {
    size_t begin, end;
    uint64_t time;
  };
  mutable std::mutex mutex_;
  std::vector<Write> writes_;  // none within a later one
  std::atomic<uint64_t> now_ = 0;
};

}  // namespace fulcrum
