// WriteLog: which bytes of a storage were written in place, and when.
// Before a gradient uses a saved tensor, Saved (autograd.h) checks that its bytes have not been written since.
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
  /// Records that bytes [begin, end) were written.
  void add(size_t begin, size_t end);
  bool any_since(uint64_t time, size_t begin, size_t end) const;

 private:
  struct Write {
    size_t begin, end;
    uint64_t time;
  };
  mutable std::mutex mutex_;
  std::vector<Write> writes_;  // none lies entirely inside a later one
  std::atomic<uint64_t> now_ = 0;
};

}  // namespace fulcrum
