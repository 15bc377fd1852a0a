// The processes of this run: one, or those that mpirun or srun has started.
//
//   Communicator& processes = world();              // connects them at the first call
//   check_alike(processes, config);
//   if (processes.first()) fmt::print("{}\n", result);
//
// An error is reported once, by the lowest rank among the processes that it occurred in.
#pragma once

#include <string>

#include <fulcrum/core/communicator.h>

#include "apps/config.h"
#include "apps/data_checksums.h"

namespace fulcrum::apps {

Communicator& world();

/// Whether this process is the one that prints for all; known before the processes are connected.
bool first_process();
/// Tells the other processes that this one fails; returns whether this one should print why.
bool speaks_of_failure(int exit_code);
/// Disconnects from the other processes; returns `exit_code`.
int leave_world(int exit_code, bool failed);
/// "process 1 of 2: " if there are several processes and this is not the first; else empty.
std::string process_label();

/// Throws UsageError, which names the command, if there are several processes.
void require_one_process(const std::string& command);
/// Throws UsageError if the settings of a process differ from the first one's; names key, values and process.
void check_alike(Communicator& processes, const Config& config);
/// The same for a text or number, which the message calls `what`.
void check_alike(Communicator& processes, const std::string& what, const std::string& value);
void check_alike(Communicator& processes, const DataChecksums& data);
/// Throws UsageError for settings that do not suit the number of processes.
void check_divisible(const Communicator& processes, const Config& config);
/// On GPUs, makes only the GPU of its local rank visible to each process of a machine. Must precede the first use of
/// CUDA.
void take_own_gpu(Communicator& processes, const TrainSettings& settings);

}  // namespace fulcrum::apps
