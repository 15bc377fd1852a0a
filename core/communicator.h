// Communicator: the processes of one training, a process for each device.
//
//   const std::unique_ptr<Communicator> world = launched_processes();  // by mpirun or srun; one without
//   const Slice mine = slice_of(batch, world->rank(), world->size());
//   …
//   world->all_reduce(sums);                    // Σ over the processes, the same bits in each
//
// Every process calls the same functions in the same order. A wait ends with PeerFailed when another process has
// given up or is gone, so that none hangs for ever. communicator.cpp has that of one process, core/mpi that of
// processes on CPUs, core/cuda/nccl.cpp that on GPUs.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <fulcrum/core/tensor.h>

namespace fulcrum {

/// Part number `part` of `parts` contiguous ones, in order, of sizes that differ by at most one; it may be empty.
Slice slice_of(int64_t total, int part, int parts);
/// Their sizes.
std::vector<int64_t> slice_sizes(int64_t total, int parts);

/// Another process has failed and says why, or is gone; the run of this one ends, too.
class PeerFailed : public Error {
 public:
  PeerFailed(const std::string& what, int exit_code, bool silent)
      : Error(what), exit_code_(exit_code), silent_(silent) {}
  int exit_code() const { return exit_code_; }
  /// Whether the other process prints the reason.
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
  /// Among the processes of this machine.
  int local_rank() const { return place_.local_rank; }
  int local_size() const { return place_.local_size; }
  bool first() const { return rank() == 0; }

  /// The sum over the processes, in place; f32, f64 or i64. Contiguous tensors on the communicator's device, or on the
  /// host, as in all that follows.
  virtual void all_reduce(Tensor& values) = 0;
  /// Begins it: until finish() nobody may touch the values.
  virtual void start_all_reduce(const Tensor& values) = 0;
  /// Lets what was begun go on; to be called now and then while other work is done.
  virtual void advance() = 0;
  /// Waits for all that was begun.
  virtual void finish() = 0;
  /// all [Σ rows, …] = the parts [rows[r], …] of every process r, in their order; an undefined part has no rows.
  virtual void all_gather(Tensor& all, const Tensor& part, const std::vector<int64_t>& rows) = 0;
  /// The numbers of process 0.
  virtual void broadcast(Tensor& values) = 0;

  /// Tells the others, who wait or will, that this process gives up. True where this process is the one that prints
  /// the reason: of several that fail for the same reason one does.
  virtual bool fail(int exit_code) = 0;
  /// For when another process is known to have failed: waits for its word and throws PeerFailed.
  [[noreturn]] virtual void await_failure() = 0;
  /// Ends the connection; after a failure it waits, for a few seconds at most, until the reason is printed.
  virtual void shut_down(bool failed) = 0;

  // ---- on the host, for what is small ----
  int64_t max(int64_t value);
  /// The texts of all processes, in their order.
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

/// Whether mpirun or srun has started this process as one of several, by the environment: costs nothing.
bool launched_with_others();
/// Connects the processes that a launcher has started (the first time some 0.3 s); without a launcher, the one. An
/// Error where there are several and this build has no MPI.
std::unique_ptr<Communicator> launched_processes();
/// For tensors on `device`: null for the CPU, which `host` serves.
std::unique_ptr<Communicator> device_processes(Communicator& host, Device device);

}  // namespace fulcrum
