// The one emulated stream: its work is done at once, or recorded while a graph is being captured.
#pragma once

#include <functional>
#include <vector>

namespace simt {

using Work = std::vector<std::function<void()>>;

/// Where work is recorded to; null outside of a capture.
inline Work* recording = nullptr;

/// For the current device.
void enqueue(std::function<void()> work);

}  // namespace simt
