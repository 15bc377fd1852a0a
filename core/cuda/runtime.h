// What the engine needs of a CUDA runtime: devices, memory, streams, events, errors. The only header of core/cuda that
// the rest of the engine may include: it includes none of the toolkit's.
//
//   cuda::use_device(0);
//   cuda::copy(device_pointer, Device("cuda"), host_pointer, Device(), bytes);
//   cuda::synchronize(cuda::compute_stream());
//
// All kernels run in the compute stream of their device, in the order in which they were called; the copy stream is for
// batches that are loaded ahead (data/batch_slot.h). runtime.cpp implements this over the CUDA runtime,
// runtime_absent.cpp for a build without CUDA, and tests/simt on the CPU.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include <fulcrum/core/types.h>

// The types behind cudaStream_t and cudaEvent_t.
struct CUstream_st;
struct CUevent_st;

namespace fulcrum {
class Communicator;
}

namespace fulcrum::cuda {

using Stream = CUstream_st*;

#ifdef FULCRUM_WITH_CUDA
inline constexpr bool kBuilt = true;
#else
inline constexpr bool kBuilt = false;
#endif

/// The number of devices that CUDA_VISIBLE_DEVICES leaves visible; 0 if there is no driver.
int device_count();
/// Why device_count() is 0: "there is no CUDA driver on this machine", "the CUDA driver (12.1) is older than …".
std::string why_no_device();
/// "NVIDIA H200, 139.8 GiB, sm_90, driver 13.0, CUDA 13.0, cuDNN 9.19.0".
std::string describe_device(int index);
/// Makes kernels and allocations of this thread go to a device. Throws an Error that says why if there is none of this
/// index.
void use_device(int index);
/// The device of the last use_device on this thread, 0 before.
int current_device();

/// Returns null if the device has too little memory.
void* try_allocate(Device device, size_t bytes);
void release(Device device, void* block) noexcept;
void* try_allocate_pinned(size_t bytes);
void release_pinned(void* block) noexcept;
/// What the current device has left, and what would need less: the end of an out-of-memory error.
/// "; free on the device: 1.2 of 139.8 GiB; a smaller batch, --recompute or --amp bf16 needs less".
std::string memory_report();
/// Bytes of the device that no process has allocated.
size_t free_memory(Device device);

Stream compute_stream();
Stream copy_stream();
/// Waits for all work in a stream. Throws Error if an earlier kernel has failed.
void synchronize(Stream stream);

/// Copies on the compute stream; waits for it if one side is host memory, pinned or not, or if the devices differ.
void copy(void* to, Device to_device, const void* from, Device from_device, size_t bytes);
/// Starts a copy: host memory must be pinned and stay alive until the stream has done the copy.
void copy_async(void* to, Device to_device, const void* from, Device from_device, size_t bytes, Stream stream);
/// Sets bytes on the compute stream.
void set_bytes(void* block, int value, size_t bytes);

/// Connects processes with a device each (core/communicator.h) over NCCL. `host` must outlive the result. Throws Error
/// if this build or machine has no NCCL.
std::unique_ptr<Communicator> connect_devices(Communicator& host, Device device);

/// A point in a stream that another stream, or the host, can wait for.
class Event {
 public:
  Event();
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  void record(Stream stream);
  /// Makes the stream wait for this event; the host does not wait.
  void hold(Stream stream) const;
  void synchronize() const;

 private:
  CUevent_st* event_;
};

/// Work of the compute stream, recorded once and replayed.
class Graph {
 public:
  /// Records what `step` enqueues, without running it. The graph keeps the addresses that the step used: its memory
  /// must come from a pool that lives as long as the graph (core/replay.h).
  explicit Graph(const std::function<void()>& step);
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;
  void replay();
  /// The number of kernels, copies and fills in one replay.
  int64_t launches() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fulcrum::cuda
