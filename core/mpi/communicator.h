// Connects the processes that an MPI launcher has started: communicator.cpp over MPI, absent.cpp in a build without it.
#pragma once

#include <fulcrum/core/communicator.h>

namespace fulcrum::mpi {

/// To be called once per process. Throws Error in a build without MPI.
std::unique_ptr<Communicator> connect();
/// "Open MPI 4.1.4"; empty in a build without MPI.
std::string describe();

}  // namespace fulcrum::mpi
