// Communicator: the processes of one distributed training run, one per device.
//
//   const std::unique_ptr<Communicator> world = launched_processes();  // by mpirun or srun; one without
//   const Slice mine = slice_of(batch, world->rank(), world->size());
//   …
//   world->all_reduce(sums);                    // Σ over the processes, the same bits in each
//
// Every process must call the same functions in the same order. A wait throws PeerFailed when another process has
// failed or disappeared, so that none hangs for ever. communicator.cpp implements it for a single process, core/mpi for
// processes on CPUs, core/cuda/nccl.cpp for GPUs.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <fulcrum/core/tensor.h>

namespace fulcrum {

/// Splits [0, total) into `parts` contiguous slices whose sizes differ by at most one, and returns slice number `part`,
/// which may be empty.
Slice slice_of(int64_t total, int part, int parts);
/// Returns the sizes of all slices of slice_of().
std::vector<int64_t> slice_sizes(int64_t total, int parts);

/// Thrown when another process has failed (and said why) or disappeared: this process must stop as well.
class PeerFailed : public Error {
 public:
  PeerFailed(const std::string& what, int exit_code, bool silent)
      : Error(what), exit_code_(exit_code), silent_(silent) {}
  int exit_code() const { return exit_code_; }
  /// Whether to print nothing here, because the other process prints the reason.
  bool silent() const { return silent_; }

 private:
  int exit_code_;
  bool silent_;
};

class Communicator {
 public:
  virtual ~Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  int rank() const { return place_.rank; }
  int size() const { return place_.size; }
  /// Rank among the processes of this machine.
  int local_rank() const { return place_.local_rank; }
  int local_size() const { return place_.local_size; }
  bool first() const { return rank() == 0; }

  /// Replaces `values` by their sum over all processes; f32, f64 or i64. Here and below, tensors lie on the
  /// communicator's device or on the host.
  virtual void all_reduce(Tensor& values) = 0;
  /// Starts an asynchronous all_reduce; `values` must not be read or written before finish().
  virtual void start_all_reduce(const Tensor& values) = 0;
  /// Makes progress on started operations; call it from time to time while doing other work.
  virtual void advance() = 0;
  /// Waits for all started operations.
  virtual void finish() = 0;
  /// Concatenates the parts [rows[r], …] of all processes r in rank order into all [Σ rows, …]. A process without rows
  /// passes an undefined part.
  virtual void all_gather(Tensor& all, const Tensor& part, const std::vector<int64_t>& rows) = 0;
  /// Replaces `values` by those of process 0.
  virtual void broadcast(Tensor& values) = 0;

  /// Tells the other processes, which wait or will wait, that this one has failed. Returns whether this process should
  /// print the reason: if several fail for the same reason, only one does.
  virtual bool fail(int exit_code) = 0;
  /// Call it when another process is known to have failed: waits for its message and throws PeerFailed.
  [[noreturn]] virtual void await_failure() = 0;
  /// Closes the connection. After a failure, first waits a few seconds at most for the reason to be printed.
  virtual void shut_down(bool failed) = 0;

  // ---- small values, on the host ----
  int64_t max(int64_t value);
  /// Returns the texts of all processes, in rank order.
  std::vector<std::string> all_gather(const std::string& text);
  void barrier() { max(0); }

 protected:
  struct Place {
    int rank = 0, size = 1, local_rank = 0, local_size = 1;
  };
  explicit Communicator(Place place) : place_(place) {}

 private:
  Place place_;
};

/// Whether mpirun or srun has started this process as one of several. Only reads environment variables.
bool launched_with_others();
/// Connects the processes that a launcher has started (takes about 0.3 s the first time). Without a launcher, returns a
/// communicator of one process. Throws Error if there are several and this build has no MPI.
std::unique_ptr<Communicator> launched_processes();
/// Returns a communicator for tensors on `device`, or null where `host` serves: on the CPU and for a single process.
std::unique_ptr<Communicator> device_processes(Communicator& host, Device device);

}  // namespace fulcrum
