// The runtime of a build without CUDA: there are no devices, and functions that need one throw Error.
#include <fulcrum/core/communicator.h>
#include <fulcrum/core/cuda/runtime.h>

namespace fulcrum::cuda {

namespace {
[[noreturn]] void absent() {
  fail("[cuda] this build of Fulcrum has no CUDA back-end; configure with -DFULCRUM_CUDA=ON");
}
}  // namespace

int device_count() { return 0; }
std::string why_no_device() { return "this build of Fulcrum has no CUDA back-end"; }
std::string describe_device(int) { absent(); }
void use_device(int) { absent(); }
int current_device() { return 0; }
void* try_allocate(Device, size_t) { absent(); }
void release(Device, void*) noexcept {}
void* try_allocate_pinned(size_t) { absent(); }
void release_pinned(void*) noexcept {}
std::string memory_report() { absent(); }
size_t free_memory(Device) { absent(); }
Stream compute_stream() { absent(); }
Stream copy_stream() { absent(); }
void synchronize(Stream) { absent(); }
void copy(void*, Device, const void*, Device, size_t) { absent(); }
void copy_async(void*, Device, const void*, Device, size_t, Stream) { absent(); }
void set_bytes(void*, int, size_t) { absent(); }

std::unique_ptr<Communicator> connect_devices(Communicator&, Device) { absent(); }

Event::Event() : event_(nullptr) { absent(); }
Event::~Event() = default;
void Event::record(Stream) {}
void Event::hold(Stream) const {}
void Event::synchronize() const {}

struct Graph::Impl {};
Graph::Graph(const std::function<void()>&) { absent(); }
Graph::~Graph() = default;
void Graph::replay() {}
int64_t Graph::launches() const { return 0; }

}  // namespace fulcrum::cuda
