// The processes of this run: one, or those that mpirun or srun has started.
//
//   Communicator& processes = world();              // connects them at the first call
//   check_alike(processes, config);
//   if (processes.first()) fmt::print("{}\n", result);
//
// What goes wrong is said once, by the process of the lowest rank that it went wrong in.
#pragma once

#include <string>

#include <fulcrum/core/communicator.h>

#include "apps/config.h"
#include "apps/data_checksums.h"

namespace fulcrum::apps {

Communicator& world();

/// Whether this process is the one that speaks for all; known before they are connected.
bool first_process();
/// Whether this process should print why it fails; tells the others that it does.
bool speaks_of_failure(int exit_code);
/// Leaves the others, and returns the code.
int leave_world(int exit_code, bool failed);
/// "process 1 of 2: " where there are several and this is not the first, else empty.
std::string process_label();

/// Refuses, with the command's name, to run in several processes.
void require_one_process(const std::string& command);
/// Refuses settings in which a process differs from the first: names key, values and process.
void check_alike(Communicator& processes, const Config& config);
/// The same for a text or number that is named in the message.
void check_alike(Communicator& processes, const std::string& what, const std::string& value);
void check_alike(Communicator& processes, const DataChecksums& data);
/// Refuses settings that do not go with so many processes.
void check_divisible(const Communicator& processes, const Config& config);
/// On GPUs leaves each process of a machine that of its local rank, as its only one. Before the first use of CUDA.
void take_own_gpu(Communicator& processes, const TrainSettings& settings);

}  // namespace fulcrum::apps
