// What this process may use of the machine.
#pragma once

namespace fulcrum::apps {

/// The number of cores, by CPU affinity and the quota of the control group.
double usable_cores();
/// Bytes: the smaller of what the system has available and what the control group leaves.
double available_memory();

}  // namespace fulcrum::apps
