#include <fulcrum/core/communicator.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <numeric>

#include <fulcrum/core/cuda/runtime.h>
#include <fulcrum/core/mpi/communicator.h>

namespace fulcrum {

namespace {

int number_in(const char* variable) {
  const char* text = std::getenv(variable);
  return text ? std::atoi(text) : 0;
}

class OneProcess : public Communicator {
 public:
  OneProcess() : Communicator(Place{}) {}
  void all_reduce(Tensor&) override {}
  void start_all_reduce(const Tensor&) override {}
  void advance() override {}
  void finish() override {}
  void all_gather(Tensor& all, const Tensor& part, const std::vector<int64_t>&) override { all.copy_from(part); }
  void broadcast(Tensor&) override {}
  bool fail(int) override { return true; }
  void await_failure() override { fulcrum::fail("[communicator] there is no other process"); }
  void shut_down(bool) override {}
};

}  // namespace

Slice slice_of(int64_t total, int part, int parts) {
  check(part >= 0 && part < parts && total >= 0, "[communicator] expected a part in [0, ", parts, "), got ", part);
  return {total * part / parts, total * (part + 1) / parts};
}

std::vector<int64_t> slice_sizes(int64_t total, int parts) {
  std::vector<int64_t> sizes;
  for (int i = 0; i < parts; i++) sizes.push_back(slice_of(total, i, parts).size());
  return sizes;
}

int64_t Communicator::max(int64_t value) {
  if (size() == 1) return value;
  Tensor all = empty({size()}, {DType::kI64, {}});
  all_gather(all, from_vector({1}, std::vector<int64_t>{value}), std::vector<int64_t>(static_cast<size_t>(size()), 1));
  return *std::max_element(all.data<int64_t>(), all.data<int64_t>() + size());
}

std::vector<std::string> Communicator::all_gather(const std::string& text) {
  if (size() == 1) return {text};
  Tensor lengths = empty({size()}, {DType::kI64, {}});
  all_gather(lengths, from_vector({1}, std::vector<int64_t>{std::ssize(text)}),
             std::vector<int64_t>(static_cast<size_t>(size()), 1));
  const std::vector<int64_t> rows(lengths.data<int64_t>(), lengths.data<int64_t>() + size());
  std::vector<std::string> texts(rows.size());
  const int64_t total = std::accumulate(rows.begin(), rows.end(), int64_t{0});
  if (total == 0) return texts;
  Tensor all = empty({total}, {DType::kU8, {}}), mine;
  if (!text.empty()) {
    mine = empty({std::ssize(text)}, {DType::kU8, {}});
    std::memcpy(mine.raw(), text.data(), text.size());
  }
  all_gather(all, mine, rows);
  const char* at = reinterpret_cast<const char*>(all.data<uint8_t>());
  for (size_t i = 0; i < rows.size(); at += rows[i++]) texts[i].assign(at, static_cast<size_t>(rows[i]));
  return texts;
}

// The variables are set by Open MPI's mpirun; by MPICH's and Intel's, and by srun with PMI; and by srun with PMIx. In a
// Slurm allocation, a program that srun has not started is not in a step of several tasks.
bool launched_with_others() {
  return number_in("OMPI_COMM_WORLD_SIZE") > 1 || number_in("PMI_SIZE") > 1 || number_in("SLURM_STEP_NUM_TASKS") > 1;
}

std::unique_ptr<Communicator> launched_processes() {
  if (!launched_with_others()) return std::make_unique<OneProcess>();
  std::unique_ptr<Communicator> world = mpi::connect();
  check(world->size() > 1,
        "[mpi] a launcher has started several processes, and MPI knows of one: is it the launcher of this ",
        "MPI? Under Slurm: srun --mpi=pmix or --mpi=pmi2");
  return world;
}

std::unique_ptr<Communicator> device_processes(Communicator& host, Device device) {
  if (device.is_cpu() || host.size() == 1) return nullptr;
  return cuda::connect_devices(host, device);
}

}  // namespace fulcrum
