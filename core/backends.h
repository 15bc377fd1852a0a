// What this build can compute with, and on what: for `fulcrum info`, logs and bug reports.
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

/// One for each device that this build and this machine offer; the CPU first.
std::vector<Backend> backends();

/// The vector instructions that Fulcrum's own code was compiled for: "AVX-512 with bf16".
std::string cpu_isa();
/// Processor, instructions and libraries: the CPU's entry in backends().
std::string describe_cpu();

}  // namespace fulcrum
