// Schedule: learning-rate schedules, each a factor of the base learning rate for every epoch.
//
//   Schedule s({.kind = "cosine", .epochs = 200, .warmup = 5});
//   opt.set_lr(0.1 * s.factor(epoch));
#pragma once

#include <string>
#include <vector>

namespace fulcrum {

struct ScheduleOptions {
  std::string kind = "constant";     // constant, multistep, step, cosine
  int epochs = 1;                    // length of the run; cosine reaches min_factor at its end
  std::vector<int> milestones = {};  // multistep: multiply by gamma at the start of these epochs
  int step_size = 30;                // step: multiply by gamma every step_size epochs
  double gamma = 0.1;
  std::vector<double> factors = {};  // multistep: a factor for each milestone, instead of gamma
  double min_factor = 0;             // cosine: the factor at the end
  int warmup = 0;                    // epochs of linear warm-up: (epoch + 1) / warmup, as in LDAM-DRW
};

class Schedule {
 public:
  /// Throws Error for an unknown kind, unsorted milestones, or numbers out of range.
  explicit Schedule(ScheduleOptions options);
  /// The factor for `epoch`, counted from 0.
  double factor(int epoch) const;

 private:
  ScheduleOptions options_;
};

}  // namespace fulcrum
