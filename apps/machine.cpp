#include "apps/machine.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string>

namespace fulcrum::apps {

double usable_cores() {
  cpu_set_t set;
  double cores = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set)
                                                             : static_cast<double>(sysconf(_SC_NPROCESSORS_ONLN));
  std::ifstream quota("/sys/fs/cgroup/cpu.max");
  double limit = 0, period = 0;
  if (quota >> limit >> period && period > 0) cores = std::min(cores, limit / period);
  return cores;
}

double available_memory() {
  double bytes = 0;
  std::ifstream info("/proc/meminfo");
  for (std::string line; std::getline(info, line);)
    if (line.starts_with("MemAvailable:")) bytes = std::strtod(line.c_str() + 13, nullptr) * 1024;
  double limit = 0, used = 0;
  std::ifstream most("/sys/fs/cgroup/memory.max"), current("/sys/fs/cgroup/memory.current");
  if (most >> limit && current >> used) bytes = std::min(bytes, limit - used);
  return bytes;
}

}  // namespace fulcrum::apps
