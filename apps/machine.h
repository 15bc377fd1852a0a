// What this process may use of the machine.
#pragma once

namespace fulcrum::apps {

/// Cores: its affinity, and the quota of its control group.
double usable_cores();
/// Bytes: the smaller of what the system has available and what the control group leaves.
double available_memory();

}  // namespace fulcrum::apps
