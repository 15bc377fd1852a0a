// Measures the roof that a profile is compared with: the peak rates of the processor in arithmetic and memory.
//
//   const Roof roof = measure_roof();
//   const double share = roof.seconds(row.work) / row.seconds;
#pragma once

#include <algorithm>

#include <fulcrum/core/profile.h>

namespace fulcrum::apps {

struct Roof {
  double flop_per_s;   // fused multiply-adds of f32 in registers, two FLOP each, on all threads
  double bytes_per_s;  // a[i] = b[i] + s * c[i] over arrays larger than a core's caches

  /// The least time for the work, if arithmetic and memory traffic overlap fully.
  double seconds(const Work& work) const { return std::max(work.flop / flop_per_s, work.bytes / bytes_per_s); }
};

/// Uses OpenMP's current number of threads; takes about a third of a second.
Roof measure_roof();

}  // namespace fulcrum::apps
