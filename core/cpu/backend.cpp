#include <fstream>

#include <fulcrum/core/backends.h>
#include <fulcrum/core/cpu/onednn.h>
#include <fulcrum/core/cpu/processor.h>

namespace fulcrum {

namespace {

// From /proc/cpuinfo; empty on systems other than Linux.
std::string processor_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);)
    if (const size_t colon = line.find(": "); line.starts_with("model name") && colon != line.npos)
      return line.substr(colon + 2);
  return {};
}

std::string libraries() {
#ifdef FULCRUM_WITH_ONEDNN
  return "oneDNN " + cpu::onednn_version();
#else
  return "without oneDNN";
#endif
}

}  // namespace

std::string cpu_isa() {
#if defined(__AVX512F__)
  return cpu::kMultipliesBf16 && __builtin_cpu_supports("avx512bf16") ? "AVX-512 with bf16" : "AVX-512";
#elif defined(__AVX2__)
  return "AVX2";
#else
  return "baseline instructions";
#endif
}

std::string describe_cpu() {
  const std::string name = processor_name();
  return (name.empty() ? "" : name + ", ") + cpu_isa() + ", " + libraries();
}

}  // namespace fulcrum
