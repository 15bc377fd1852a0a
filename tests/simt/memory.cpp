#include "memory.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "simt.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, bytes)
#define ASAN_UNPOISON_MEMORY_REGION(address, bytes)
#endif

namespace simt {

using fulcrum::Device;

int device_count() {
  static const int count = [] {
    const char* text = std::getenv("FULCRUM_SIMT_DEVICES");
    return text ? std::max(1, std::atoi(text)) : 1;
  }();
  return count;
}

Memory& memory() {
  static auto* memory = new Memory;  // never destroyed: the pools give their blocks back at the end
  return *memory;
}

Memory::Memory() : limited_(std::getenv("FULCRUM_SIMT_MEMORY") != nullptr) {
  const char* limit = std::getenv("FULCRUM_SIMT_MEMORY");
  left_.assign(static_cast<size_t>(device_count()), limit ? std::strtoull(limit, nullptr, 10) : size_t{1} << 30);
}

void* Memory::take(Device device, size_t bytes) {
  const std::lock_guard lock(mutex_);
  size_t& left = left_[static_cast<size_t>(device.index)];
  if (limited_ && bytes > left) return nullptr;
  void* block = std::aligned_alloc(256, bytes);
  if (!block) return nullptr;
  if (limited_) left -= bytes;
  std::memset(block, 0xFF, bytes);
  const auto added = blocks_.insert({static_cast<const char*>(block), Block{device.index, bytes}}).first;
  if (several_) open(added, device.index == entered_);
  return block;
}

void Memory::give(Device device, void* block) noexcept {
  const std::lock_guard lock(mutex_);
  const auto it = blocks_.find(static_cast<const char*>(block));
  if (it == blocks_.end() || it->second.device != device.index) broken("memory is released that the device has not");
  if (limited_) left_[static_cast<size_t>(device.index)] += it->second.bytes;
  blocks_.erase(it);
  std::free(block);
}

void Memory::enter(int device) {
  if (!several_) return;
  const std::lock_guard lock(mutex_);
  if (device == entered_) return;
  entered_ = device;
  for (auto it = blocks_.begin(); it != blocks_.end(); ++it) open(it, it->second.device == device);
}

void Memory::copy(void* to, Device to_device, const void* from, Device from_device, size_t bytes) {
  const std::lock_guard lock(mutex_);
  const Blocks::const_iterator ends[] = {checked(to, to_device, bytes), checked(from, from_device, bytes)};
  for (const auto end : ends) open(end, true);
  std::memmove(to, from, bytes);
  for (const auto end : ends) open(end, end == blocks_.end() || end->second.device == entered_);
}

Memory::Blocks::const_iterator Memory::holder_of(const void* address) const {
  const auto* at = static_cast<const char*>(address);
  const auto after = blocks_.upper_bound(at);
  if (after == blocks_.begin()) return blocks_.end();
  const auto block = std::prev(after);
  return at < block->first + block->second.bytes ? block : blocks_.end();
}

Memory::Blocks::const_iterator Memory::checked(const void* address, Device device, size_t bytes) const {
  const auto block = holder_of(address);
  if (device.is_cpu()) {
    if (block != blocks_.end()) broken("a copy takes memory of a device for the host's");
    return block;
  }
  if (block == blocks_.end() || block->second.device != device.index)
    broken("a copy names a device that does not hold the memory");
  if (static_cast<const char*>(address) + bytes > block->first + block->second.bytes) broken("a copy beyond a block");
  return block;
}

void Memory::open(Blocks::const_iterator block, bool open) const {
  if (!several_ || block == blocks_.end()) return;
  if (open) ASAN_UNPOISON_MEMORY_REGION(block->first, block->second.bytes);
  else ASAN_POISON_MEMORY_REGION(block->first, block->second.bytes);
}

}  // namespace simt
