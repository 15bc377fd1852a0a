// Readings: numbers of a device that the host reads some steps late, so that it need not wait for the steps in between.
// Each reading is a small copy into pinned memory, followed by an event.
//
//   Readings readings(totals, control);
//   readings.post(step);                          // every few steps
//   const Reading r = readings.wait_for_previous();     // from the second post on
//   show(r.step, r.totals);
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include <fulcrum/core/kernel_types.h>

namespace fulcrum::apps {

struct Reading {
  int64_t step = 0;
  std::array<double, 4> totals{};              // add_metrics in kernels.inc
  std::array<double, kControlSize> control{};  // UpdateControl in kernel_types.h
};

class Readings {
 public:
  /// Both are f64 [4], on one GPU, and live: each post copies their current values.
  Readings(Tensor totals, Tensor control);
  /// Enqueues a copy of both, after the work enqueued so far.
  void post(int64_t step);
  /// The reading posted last; waits for the device.
  Reading wait();
  /// The reading posted before the last; waits for the device. There must have been two posts.
  Reading wait_for_previous();

 private:
  static constexpr int64_t kSlots = 2;  // the last and the one before
  Reading read(int64_t number) const;
  Tensor totals_, control_, ring_;  // ring_: f64 [kSlots, 8], pinned
  std::array<cuda::Event, kSlots> events_;
  std::array<int64_t, kSlots> steps_{};
  int64_t posted_ = 0;
};

}  // namespace fulcrum::apps
