#include <fulcrum/core/write_log.h>

#include <algorithm>

namespace fulcrum {

void WriteLog::add(size_t begin, size_t end) {
  constexpr size_t kMostWrites = 64;
  const std::lock_guard lock(mutex_);
  Write write{begin, end, ++now_};
  std::erase_if(writes_, [&](const Write& w) { return begin <= w.begin && w.end <= end; });
  if (writes_.size() == kMostWrites) {  // too many small writes: merge them into one that covers all
    for (const Write& w : writes_) write.begin = std::min(write.begin, w.begin), write.end = std::max(write.end, w.end);
    writes_.clear();
  }
  writes_.push_back(write);
}

bool WriteLog::any_since(uint64_t time, size_t begin, size_t end) const {
  if (now_ == time) return false;
  const std::lock_guard lock(mutex_);
  return std::ranges::any_of(writes_, [&](const Write& w) { return w.time > time && w.begin < end && begin < w.end; });
}

}  // namespace fulcrum
