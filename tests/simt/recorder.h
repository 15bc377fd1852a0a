// The one emulated stream: its work is done at once, or recorded while a graph is being captured.
#pragma once

#include <functional>
#include <vector>

namespace simt {

using Work = std::vector<std::function<void()>>;

/// Where work is recorded to; null outside of a capture.
inline Work* recording = nullptr;

inline void enqueue(std::function<void()> work) {
  if (recording) recording->push_back(std::move(work));
  else work();
}

}  // namespace simt
