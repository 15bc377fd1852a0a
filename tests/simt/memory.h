// The memory of the emulated devices. A kernel reaches that of the device that it was started on: where there are
// several, AddressSanitizer stops it at the memory of another.
#pragma once

#include <cstddef>
#include <map>
#include <mutex>
#include <vector>

#include <fulcrum/core/types.h>

namespace simt {

/// FULCRUM_SIMT_DEVICES, or one.
int device_count();

class Memory {
 public:
  Memory();
  /// Memory that holds NaN, so that a read of unwritten memory shows; null if the device has too little left.
  void* take(fulcrum::Device device, size_t bytes);
  void give(fulcrum::Device device, void* block) noexcept;
  /// Bytes that the device has left of FULCRUM_SIMT_MEMORY; without this variable there is no limit.
  size_t left(fulcrum::Device device) const { return left_[static_cast<size_t>(device.index)]; }
  /// Opens the memory of one device to what runs next, and closes that of all others.
  void enter(int device);
  /// Aborts where one of the addresses is not on the device that it is said to be on.
  void copy(void* to, fulcrum::Device to_device, const void* from, fulcrum::Device from_device, size_t bytes);

 private:
  struct Block {
    int device;
    size_t bytes;
  };
  using Blocks = std::map<const char*, Block>;
  Blocks::const_iterator holder_of(const void* address) const;
  Blocks::const_iterator checked(const void* address, fulcrum::Device device, size_t bytes) const;
  void open(Blocks::const_iterator block, bool open) const;

  const bool several_ = device_count() > 1;
  const bool limited_;
  std::vector<size_t> left_;
  std::mutex mutex_;
  Blocks blocks_;
  int entered_ = 0;
};
Memory& memory();

}  // namespace simt
