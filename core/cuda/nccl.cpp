// Communicator over NCCL, for processes with a GPU each. The host's communicator distributes NCCL's unique identifier,
// and also serves tensors on the host.
//
// All collectives run on one stream of their own, in the order of the calls. Each waits for the work that the compute
// stream was given before; the compute stream then waits for the collective, in the case of start_all_reduce() only
// from finish() on. A recorded step (core/replay.h) records the collectives, too.
#include <nccl.h>

#include <chrono>
#include <cstring>
#include <exception>
#include <future>
#include <thread>
#include <utility>

#include <fulcrum/core/communicator.h>
#include <fulcrum/core/cuda/check.h>
#include <fulcrum/core/cuda/library.h>
#include <fulcrum/core/cuda/runtime.h>
#include <fulcrum/core/profile.h>

namespace fulcrum::cuda {

namespace {

/// Looks up the library's function for a declaration of its header.
template <class F>
F* function(F*, const char* name) {
  static void* library = open_library("NCCL", "libnccl.so", NCCL_MAJOR, FULCRUM_NCCL_FOLDER);
  return reinterpret_cast<F*>(find_function(library, name));
}

#define NCCL(name)                                                                    \
  ([]() {                                                                             \
    static const auto found = function(static_cast<decltype(&name)>(nullptr), #name); \
    return found;                                                                     \
  }())

void check_status(ncclResult_t status, const char* expression) {
  check(status == ncclSuccess, "[nccl] ", expression, ": ", NCCL(ncclGetErrorString)(status));
}

#define FULCRUM_NCCL_CHECK(expression) check_status((expression), #expression)

ncclDataType_t type_of(const Tensor& t) {
  switch (t.dtype()) {
    case DType::kF32: return ncclFloat32;
    case DType::kF64: return ncclFloat64;
    case DType::kI64: return ncclInt64;
    default: fail("[all_reduce] expected f32, f64 or i64, got ", t.dtype());
  }
}

class NcclCommunicator : public Communicator {
 public:
  NcclCommunicator(Communicator& host, Device device)
      : Communicator({host.rank(), host.size(), host.local_rank(), host.local_size()}),
        host_(host),
        device_(used(device)) {
    ncclUniqueId id{};
    if (host.first()) FULCRUM_NCCL_CHECK(NCCL(ncclGetUniqueId)(&id));
    Tensor bytes = empty({static_cast<int64_t>(sizeof id)}, {DType::kU8, {}});
    std::memcpy(bytes.raw(), &id, sizeof id);
    host.broadcast(bytes);
    std::memcpy(&id, bytes.raw(), sizeof id);
    int least = 0, greatest = 0;
    FULCRUM_CUDA_CHECK(cudaDeviceGetStreamPriorityRange(&least, &greatest));
    FULCRUM_CUDA_CHECK(cudaStreamCreateWithPriority(&stream_, cudaStreamNonBlocking, greatest));
    FULCRUM_NCCL_CHECK(NCCL(ncclCommInitRank)(&comm_, size(), id, rank()));
  }

  // If an error ends this process, the others may never reach the collective in which the device waits.
  ~NcclCommunicator() override {
    NcclCommunicator::shut_down(/*failed=*/std::uncaught_exceptions() > 0);
    if (aborted_.valid()) {
      constexpr std::chrono::seconds kPatience{10};  // the abort may wait for other processes of the machine
      if (aborted_.wait_for(kPatience) != std::future_status::ready) return;
    }
    cudaStreamDestroy(stream_);
  }

  void all_reduce(Tensor& values) override {
    if (values.device().is_cpu()) return host_.all_reduce(values);
    begin_sum(values);
    join();
    profile_mark("all_reduce");
  }

  void start_all_reduce(const Tensor& values) override {
    if (values.device().is_cpu()) return host_.start_all_reduce(values);
    begin_sum(values);
    begun_ = true;
  }

  void advance() override { host_.advance(); }

  void finish() override {
    host_.finish();
    if (std::exchange(begun_, false)) join();
    profile_mark("all_reduce (wait)");
  }

  // A broadcast per process: the parts of NCCL's own gather have equal sizes.
  void all_gather(Tensor& all, const Tensor& part, const std::vector<int64_t>& rows) override {
    if (all.device().is_cpu()) return host_.all_gather(all, part, rows);
    const auto row = all.bytes() / static_cast<size_t>(all.size(0));
    auto* to = static_cast<char*>(all.raw());
    fork();
    FULCRUM_NCCL_CHECK(NCCL(ncclGroupStart)());
    for (int r = 0; r < size(); r++) {
      const size_t bytes = row * static_cast<size_t>(rows[static_cast<size_t>(r)]);
      const void* from = r == rank() && part ? part.raw() : to;
      if (bytes > 0) FULCRUM_NCCL_CHECK(NCCL(ncclBroadcast)(from, to, bytes, ncclUint8, r, comm_, stream_));
      to += bytes;
    }
    FULCRUM_NCCL_CHECK(NCCL(ncclGroupEnd)());
    join();
    profile_mark("all_gather");
  }

  void broadcast(Tensor& values) override {
    if (values.device().is_cpu()) return host_.broadcast(values);
    fork();
    FULCRUM_NCCL_CHECK(NCCL(ncclBroadcast)(values.raw(), values.raw(), values.bytes(), ncclUint8, 0, comm_, stream_));
    join();
  }

  bool fail(int exit_code) override { return host_.fail(exit_code); }
  void await_failure() override { host_.await_failure(); }

  void shut_down(bool failed) override {
    if (!comm_) return;
    // Kernels that wait for a dead process would block whatever waits for the device. The abort ends these kernels at
    // once, but returns only when the recorded steps that contain them are destroyed: it runs on a thread of its own,
    // so that this thread can destroy them.
    ncclComm_t comm = std::exchange(comm_, nullptr);
    if (!failed) {
      NCCL(ncclCommDestroy)(comm);
      return;
    }
    std::packaged_task<void()> abort([comm, device = device_, abort_now = NCCL(ncclCommAbort)] {
      use_device(device.index);
      abort_now(comm);
    });
    aborted_ = abort.get_future();
    std::thread(std::move(abort)).detach();
  }

 private:
  // Called before the events are made: they belong to the device that is in use then.
  static Device used(Device device) {
    use_device(device.index);
    return device;
  }
  void begin_sum(const Tensor& values) {
    fork();
    FULCRUM_NCCL_CHECK(NCCL(ncclAllReduce)(values.raw(), const_cast<void*>(values.raw()),
                                           static_cast<size_t>(values.numel()), type_of(values), ncclSum, comm_,
                                           stream_));
  }
  void fork() {
    use_device(device_.index);
    ready_.record(compute_stream());
    ready_.hold(stream_);
  }
  void join() {
    done_.record(stream_);
    done_.hold(compute_stream());
  }

  Communicator& host_;
  Device device_;
  Stream stream_ = nullptr;
  ncclComm_t comm_ = nullptr;
  Event ready_, done_;
  bool begun_ = false;
  std::future<void> aborted_;
};

}  // namespace

std::unique_ptr<Communicator> connect_devices(Communicator& host, Device device) {
  return std::make_unique<NcclCommunicator>(host, device);
}

}  // namespace fulcrum::cuda
