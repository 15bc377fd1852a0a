// runtime.h over the CUDA runtime.
#include <fulcrum/core/cuda/runtime.h>

#include <array>
#include <cstdio>
#include <mutex>
#include <vector>

#include <cuda_runtime_api.h>

#include <fulcrum/core/cuda/check.h>
#include <fulcrum/core/cuda/cudnn.h>

namespace fulcrum::cuda {

namespace {

struct DeviceStreams {
  Stream compute = nullptr, copy = nullptr;
};

thread_local int current = -1;  // no device chosen on this thread yet

/// Never destroyed: when static objects are, the driver may be gone already.
std::vector<DeviceStreams>& all_streams() {
  static auto* streams = new std::vector<DeviceStreams>(static_cast<size_t>(device_count()));
  return *streams;
}

const DeviceStreams& streams() {
  static std::mutex mutex;
  use_device(current_device());
  const std::lock_guard lock(mutex);
  DeviceStreams& s = all_streams()[static_cast<size_t>(current_device())];
  if (!s.compute) {
    // They must not wait for the legacy stream, which cannot be captured.
    FULCRUM_CUDA_CHECK(cudaStreamCreateWithFlags(&s.compute, cudaStreamNonBlocking));
    FULCRUM_CUDA_CHECK(cudaStreamCreateWithFlags(&s.copy, cudaStreamNonBlocking));
  }
  return s;
}

struct Probe {
  int count = 0;
  std::string problem;
};

std::string version_text(int version) { return concat_text(version / 1000, ".", version % 1000 / 10); }

const Probe& probe() {
  static const Probe result = [] {
    Probe p;
    const cudaError_t status = cudaGetDeviceCount(&p.count);
    if (status == cudaSuccess && p.count > 0) return p;
    p.count = 0;
    int driver = 0, runtime = 0;
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    if (driver == 0 && status != cudaErrorStubLibrary) {  // the toolkit's stub of a driver has no version either
      p.problem = "there is no CUDA driver on this machine";
    } else if (status == cudaErrorInsufficientDriver) {
      p.problem =
          "the CUDA driver (" + version_text(driver) + ") is older than the runtime (" + version_text(runtime) + ")";
    } else if (status == cudaSuccess || status == cudaErrorNoDevice) {
      p.problem = "the CUDA driver sees no device (CUDA_VISIBLE_DEVICES may hide it)";
    } else {
      p.problem = concat_text(cudaGetErrorName(status), ", ", cudaGetErrorString(status));
    }
    return p;
  }();
  return result;
}

double gib(size_t bytes) { return static_cast<double>(bytes) / 1073741824.0; }

std::string gib_text(size_t bytes) {
  std::array<char, 32> text;
  std::snprintf(text.data(), text.size(), "%.1f", gib(bytes));
  return text.data();
}

cudaMemcpyKind kind_of(Device to, Device from) {
  if (to.is_cpu()) return from.is_cpu() ? cudaMemcpyHostToHost : cudaMemcpyDeviceToHost;
  return from.is_cpu() ? cudaMemcpyHostToDevice : cudaMemcpyDeviceToDevice;
}

}  // namespace

int device_count() { return probe().count; }
std::string why_no_device() { return probe().problem; }

std::string describe_device(int index) {
  cudaDeviceProp p;
  FULCRUM_CUDA_CHECK(cudaGetDeviceProperties(&p, index));
  int driver = 0, runtime = 0;
  FULCRUM_CUDA_CHECK(cudaDriverGetVersion(&driver));
  FULCRUM_CUDA_CHECK(cudaRuntimeGetVersion(&runtime));
  std::string cudnn;
  try {
    cudnn = "cuDNN " + cudnn_version();
  } catch (const Error& e) {
    cudnn = e.what();
  }
  return concat_text(p.name, ", ", gib_text(p.totalGlobalMem), " GiB, sm_", p.major, p.minor, ", driver ",
                     version_text(driver), ", CUDA ", version_text(runtime), ", ", cudnn);
}

int current_device() { return current < 0 ? 0 : current; }

void use_device(int index) {
  if (index == current) return;
  check(device_count() > 0, "[cuda] expected a device cuda:", index, ", but ", why_no_device());
  check(index >= 0 && index < device_count(), "[cuda] expected a device below cuda:", device_count(),
        ", got cuda:", index);
  static const std::string cudnn = cudnn_version();  // if missing, an Error now, not at the first convolution
  int major = 0, minor = 0;
  FULCRUM_CUDA_CHECK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, index));
  FULCRUM_CUDA_CHECK(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, index));
  check(major >= 8, "[cuda] expected a GPU of compute capability 8.0 or newer as cuda:", index, ", got ", major, ".",
        minor);
  FULCRUM_CUDA_CHECK(cudaSetDevice(index));
  current = index;
}

void* try_allocate(Device device, size_t bytes) {
  use_device(device.index);
  void* block = nullptr;
  const cudaError_t status = cudaMalloc(&block, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // clears the error: the caller reports it
    return nullptr;
  }
  FULCRUM_CUDA_CHECK(status);
  return block;
}

void release(Device, void* block) noexcept { cudaFree(block); }

void* try_allocate_pinned(size_t bytes) {
  void* block = nullptr;
  const cudaError_t status = cudaHostAlloc(&block, bytes, cudaHostAllocPortable);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    return nullptr;
  }
  FULCRUM_CUDA_CHECK(status);
  return block;
}

void release_pinned(void* block) noexcept { cudaFreeHost(block); }

std::string memory_report() {
  size_t free = 0, total = 0;
  const bool known = cudaMemGetInfo(&free, &total) == cudaSuccess;
  return (known ? concat_text("; free on the device: ", gib_text(free), " of ", gib_text(total), " GiB") : "") +
         "; a smaller batch, --recompute or --amp bf16 needs less";
}

size_t free_memory(Device device) {
  size_t free = 0, total = 0;
  use_device(device.index);
  FULCRUM_CUDA_CHECK(cudaMemGetInfo(&free, &total));
  return free;
}

Stream compute_stream() { return streams().compute; }
Stream copy_stream() { return streams().copy; }
void synchronize(Stream stream) { FULCRUM_CUDA_CHECK(cudaStreamSynchronize(stream)); }

void copy_async(void* to, Device to_device, const void* from, Device from_device, size_t bytes, Stream stream) {
  if (to_device.is_cpu() || from_device.is_cpu() || to_device == from_device) {
    FULCRUM_CUDA_CHECK(cudaMemcpyAsync(to, from, bytes, kind_of(to_device, from_device), stream));
  } else {
    FULCRUM_CUDA_CHECK(cudaMemcpyPeerAsync(to, to_device.index, from, from_device.index, bytes, stream));
  }
}

void copy(void* to, Device to_device, const void* from, Device from_device, size_t bytes) {
  const bool between_devices = !to_device.is_cpu() && !from_device.is_cpu() && to_device != from_device;
  if (between_devices) {  // the streams of one device do not wait for those of another
    use_device(from_device.index);
    synchronize(compute_stream());
  }
  use_device(to_device.is_cpu() ? from_device.index : to_device.index);
  copy_async(to, to_device, from, from_device, bytes, compute_stream());
  if (to_device.is_cpu() || from_device.is_cpu() || between_devices) synchronize(compute_stream());
}

void set_bytes(void* block, int value, size_t bytes) {
  FULCRUM_CUDA_CHECK(cudaMemsetAsync(block, value, bytes, compute_stream()));
}

Event::Event() : event_(nullptr) {
  use_device(current_device());
  FULCRUM_CUDA_CHECK(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming));
}
Event::~Event() { cudaEventDestroy(event_); }
void Event::record(Stream stream) { FULCRUM_CUDA_CHECK(cudaEventRecord(event_, stream)); }
void Event::hold(Stream stream) const { FULCRUM_CUDA_CHECK(cudaStreamWaitEvent(stream, event_, 0)); }
void Event::synchronize() const { FULCRUM_CUDA_CHECK(cudaEventSynchronize(event_)); }

struct Graph::Impl {
  cudaGraphExec_t executable = nullptr;
  size_t nodes = 0;
  ~Impl() {
    if (executable) cudaGraphExecDestroy(executable);
  }
};

Graph::Graph(const std::function<void()>& step) : impl_(std::make_unique<Impl>()) {
  const Stream stream = compute_stream();
  // Relaxed: during the capture the pool may allocate memory, and loader threads may call the CUDA runtime.
  FULCRUM_CUDA_CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed));
  cudaGraph_t graph = nullptr;
  try {
    step();
  } catch (...) {
    cudaStreamEndCapture(stream, &graph);  // also ends a capture that something invalidated
    if (graph) cudaGraphDestroy(graph);
    cudaGetLastError();
    throw;
  }
  FULCRUM_CUDA_CHECK(cudaStreamEndCapture(stream, &graph));
  cudaError_t status = cudaGraphGetNodes(graph, nullptr, &impl_->nodes);
  if (status == cudaSuccess) status = cudaGraphInstantiate(&impl_->executable, graph, 0);
  cudaGraphDestroy(graph);
  FULCRUM_CUDA_CHECK(status);
}

Graph::~Graph() = default;

void Graph::replay() { FULCRUM_CUDA_CHECK(cudaGraphLaunch(impl_->executable, compute_stream())); }

int64_t Graph::launches() const { return static_cast<int64_t>(impl_->nodes); }

}  // namespace fulcrum::cuda
