// The processes that an MPI launcher has started: communicator.cpp over MPI, absent.cpp for a build without.
#pragma once

#include <fulcrum/core/communicator.h>

namespace fulcrum::mpi {

/// Once in a process. An Error in a build without MPI.
std::unique_ptr<Communicator> connect();
/// "Open MPI 4.1.4"; empty in a build without.
std::string describe();

}  // namespace fulcrum::mpi
