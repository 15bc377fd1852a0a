#include "apps/readings.h"

#include <algorithm>
#include <utility>

namespace fulcrum::apps {

namespace {
constexpr int64_t kRow = 8;
}

Readings::Readings(Tensor totals, Tensor control)
    : totals_(std::move(totals)),
      control_(std::move(control)),
      ring_(Storage::allocate_pinned(kSlots * kRow * sizeof(double)), 0, {kSlots, kRow}, DType::kF64) {
  check(totals_.numel() == 4 && control_.numel() == kControlSize && totals_.dtype() == DType::kF64 &&
            control_.dtype() == DType::kF64,
        "[readings] expected totals f64 [4] and control f64 [", kControlSize, "]");
}

void Readings::post(int64_t step) {
  const auto slot = static_cast<size_t>(posted_ % kSlots);
  if (posted_ >= kSlots) events_[slot].synchronize();  // its row is overwritten
  double* row = ring_.data<double>() + static_cast<int64_t>(slot) * kRow;
  const cuda::Stream stream = cuda::compute_stream();
  cuda::copy_async(row, Device(), totals_.raw(), totals_.device(), totals_.bytes(), stream);
  cuda::copy_async(row + 4, Device(), control_.raw(), control_.device(), control_.bytes(), stream);
  events_[slot].record(stream);
  steps_[slot] = step;
  posted_++;
}

Reading Readings::wait() {
  check(posted_ > 0, "[readings] expected a post before a wait");
  events_[static_cast<size_t>((posted_ - 1) % kSlots)].synchronize();
  return read(posted_ - 1);
}

Reading Readings::wait_for_previous() {
  check(posted_ > 1, "[readings] expected two posts before a wait for the first of them");
  events_[static_cast<size_t>((posted_ - 2) % kSlots)].synchronize();
  return read(posted_ - 2);
}

Reading Readings::read(int64_t number) const {
  const auto slot = static_cast<size_t>(number % kSlots);
  const double* row = ring_.data<double>() + static_cast<int64_t>(slot) * kRow;
  Reading r;
  r.step = steps_[slot];
  std::copy_n(row, 4, r.totals.begin());
  std::copy_n(row + 4, static_cast<size_t>(kControlSize), r.control.begin());
  return r;
}

}  // namespace fulcrum::apps
