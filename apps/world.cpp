#include "apps/world.h"

#include <cstdlib>
#include <sstream>

#include <fmt/format.h>

#include "apps/ranges.h"

namespace fulcrum::apps {

namespace {

std::unique_ptr<Communicator> processes;

// May differ between processes, since their machines may.
const std::vector<std::string> kOfTheMachine = {"data.dir", "data.workers", "data.cache_mb", "train.threads"};

/// Throws in all processes if one of them has found a problem: UsageError there, PeerFailed in the others.
void refuse_together(Communicator& all, const std::string& problem) {
  if (all.max(!problem.empty()) == 0) return;
  if (!problem.empty()) throw UsageError(problem);
  all.await_failure();
}

// The GPU of this process, from the list in CUDA_VISIBLE_DEVICES or, if that is not set, of all. Empty if the list is
// too short.
std::string own_gpu(int local_rank) {
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  if (!visible) return std::to_string(local_rank);
  std::vector<std::string> list;
  std::istringstream in(visible);
  for (std::string id; std::getline(in, id, ',');) list.push_back(id);
  if (list.size() == 1) return list.front();  // the launcher has given each process one
  return local_rank < static_cast<int>(list.size()) ? list[static_cast<size_t>(local_rank)] : "";
}

// Makes only this process's GPU visible. The driver reads the variable once, and an MPI that supports GPUs initialises
// the driver in MPI_Init: so this must run before that, if the launcher says which of its machine's processes this one
// is.
void see_own_gpu_alone() {
  if (!launched_with_others()) return;
  for (const char* variable : {"OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"})
    if (const char* rank = std::getenv(variable)) {
      if (const std::string gpu = own_gpu(std::atoi(rank)); !gpu.empty())
        setenv("CUDA_VISIBLE_DEVICES", gpu.c_str(), 1);
      return;
    }
}

}  // namespace

Communicator& world() {
  if (!processes) {
    see_own_gpu_alone();
    processes = launched_processes();
  }
  return *processes;
}

bool first_process() {
  if (processes) return processes->first();
  for (const char* variable : {"OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID"})
    if (const char* rank = std::getenv(variable); rank && launched_with_others()) return std::atoi(rank) == 0;
  return true;
}

bool speaks_of_failure(int exit_code) {
  if (!launched_with_others()) return true;
  try {
    return world().fail(exit_code);
  } catch (const Error&) {  // the connection itself has failed
    return first_process();
  }
}

int leave_world(int exit_code, bool failed) {
  if (processes) processes->shut_down(failed);
  return exit_code;
}

std::string process_label() {
  if (!processes || processes->first()) return "";
  return fmt::format("process {} of {}: ", processes->rank(), processes->size());
}

void require_one_process(const std::string& command) {
  if (launched_with_others()) throw UsageError(command + " runs in one process: start it without mpirun or srun");
}

void check_alike(Communicator& all, const Config& config) {
  if (all.size() == 1) return;
  const auto texts = all.all_gather(to_toml(config));
  Config expected;
  load_toml(expected, texts.front(), "process 0");
  const std::string list = listed(differences(expected, config, kOfTheMachine));
  const std::string problem =
      list.empty() ? "" : fmt::format("process 0 and process {} have different settings:{}", all.rank(), list);
  refuse_together(all, problem);
}

void check_alike(Communicator& all, const std::string& what, const std::string& value) {
  const auto values = all.all_gather(value);
  refuse_together(all, value == values.front() ? ""
                                               : fmt::format("{}: expected {} as in process 0, got {} in process {}",
                                                             what, values.front(), value, all.rank()));
}

void check_alike(Communicator& all, const DataChecksums& data) {
  check_alike(all, "training data (checksum)", std::to_string(data.training));
  check_alike(all, "test data (checksum)", std::to_string(data.test));
  check_alike(all, "data of the part val or further test sets (checksum)", std::to_string(data.others));
}

void check_divisible(const Communicator& all, const Config& c) {
  if (all.size() == 1) return;
  if (c.train.batch_size % all.size() != 0)
    usage("train.batch_size: expected a multiple of the ", all.size(), " processes, which share each batch, got ",
          c.train.batch_size);
  if (c.loss.name == "aldr-kl")
    usage(
        "loss.name: aldr-kl keeps a lambda for each sample in the process that trains on it; expected one process, got ",
        all.size());
  if (c.train.device != "cpu" && c.train.device != "cuda")
    usage("train.device: expected cpu or cuda, of which each process takes its own, with ", all.size(),
          " processes, got '", c.train.device, "'");
}

void take_own_gpu(Communicator& all, const TrainSettings& settings) {
  if (all.size() == 1 || settings.device == "cpu") return;
  const std::string own = own_gpu(all.local_rank());
  refuse_together(all, own.empty()
                           ? fmt::format("CUDA_VISIBLE_DEVICES: expected a GPU for each of the {} processes of this "
                                         "machine, got '{}'",
                                         all.local_size(), std::getenv("CUDA_VISIBLE_DEVICES"))
                           : "");
  setenv("CUDA_VISIBLE_DEVICES", own.c_str(), 1);
}

}  // namespace fulcrum::apps
