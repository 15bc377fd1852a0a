// The devices and libraries that this build can compute with: for `fulcrum info`, logs and bug reports.
//
//   for (const Backend& b : backends()) std::cout << b.device << ": " << b.description << "\n";
#pragma once

#include <string>
#include <vector>

#include <fulcrum/core/types.h>

namespace fulcrum {

struct Backend {
  Device device;
  std::string description;  // "AMD EPYC, AVX-512 with bf16, oneDNN 2.6.2"
};

/// Returns one entry per device that this build can use on this machine, the CPU first.
std::vector<Backend> backends();

/// Returns the vector instructions that Fulcrum's own code was compiled for: "AVX-512 with bf16".
std::string cpu_isa();
/// Returns processor, instructions and libraries: the CPU's description in backends().
std::string describe_cpu();

}  // namespace fulcrum
