// An epoch on a GPU. The step is recorded as a CUDA graph and replayed; the host stages batches, reads the device's
// numbers a few steps late, and waits only where a run stops.

#include <fmt/format.h>

#include <fulcrum/layers/layers.h>

#include "apps/seconds.h"
#include "apps/stop.h"
#include "apps/trainer.h"

namespace fulcrum::apps {

namespace {
// Steps between two readings of the device's numbers.
constexpr int64_t kPostEvery = 8;
}  // namespace

RecordedStep::RecordedStep(const Loader& loader, Tensor totals, Tensor control, std::function<void(const Batch&)> train)
    : slot(loader), readings(std::move(totals), std::move(control)), replay(loader.options().device, [this, train] {
        slot.make_images();
        train(slot.batch());
      }) {}

bool Trainer::records() const {
  return !Device(config_.train.device).is_cpu() && config_.train.graph && config_.train.accumulate == 1;
}

std::string Trainer::eager_part() const {
  if (Device(config_.train.device).is_cpu() || !config_.train.graph) return "";
  if (!records()) return "train.accumulate > 1: steps run eagerly, not as a recorded CUDA graph";
  const int64_t rest = train_loader_.size() % config_.train.batch_size;
  if (rest == 0 || steps() < train_loader_.batches()) return "";
  return fmt::format("the last batch of an epoch, {} samples, runs eagerly: the recorded CUDA graph is for {}", rest,
                     config_.train.batch_size);
}

bool Trainer::train_recorded_epoch() {
  RunProgress& p = state_.progress;
  const int64_t last = steps(), first = p.batch;
  if (first >= last) return true;  // the run was stopped in the evaluation of this epoch
  const int64_t updates_before = optimizer_->steps();
  int64_t posts = 0;
  StagedRange staged = train_loader_.staged(p.epoch, first);
  while (p.batch < last) {
    const auto asked = Clock::now();
    std::optional<StagedBatch> next = staged.next();
    progress_.add_data_wait(seconds_since(asked));
    run_staged(std::move(*next));
    p.batch++;
    const bool looks = p.batch % kPostEvery == 0, saves = save_due(p.batch);
    const int stop = !several() ? stop_signal : looks ? agree_on_stop(processes_) : 0;
    const bool end = p.batch == last || stop != 0 || saves;
    if (end || looks) recorded_->readings.post(p.batch), posts++;
    std::optional<Reading> reading;
    if (end) reading = recorded_->readings.wait();
    // Not the latest reading that happens to be there: a stop at non-finite numbers must leave the same state in every
    // run, and find all processes at the same step.
    else if (looks && posts > 1) reading = recorded_->readings.wait_for_previous();
    if (!reading) continue;
    if (reading->control[kBad] != 0) {
      // The device has not updated since then: its count of updates tells which batch it was.
      p.batch = first + static_cast<int64_t>(reading->control[kStep]) - updates_before;
      return !stopped_by_non_finite();
    }
    show_progress(reading->step, last, reading->totals);
    if (stop != 0) return false;
    if (saves) save();
  }
  return true;
}

void Trainer::run_staged(StagedBatch staged) {
  if (staged.total < config_.train.batch_size) {
    // The last batch of an epoch may have another shape: it runs eagerly, in the recorded step's memory.
    return recorded_->replay.eagerly([&] { train_batch(train_loader_.make(staged)); });
  }
  const bool replayed = recorded_->replay.recorded();
  recorded_->slot.load(std::move(staged));
  recorded_->replay();
  if (replayed) count_training_batch(*model_);
}

}  // namespace fulcrum::apps
