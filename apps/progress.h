// What a person sees while a run goes on: one line that rewrites itself on a terminal, plain lines
// elsewhere. On stderr; stdout is for the result. Lasting lines go to the run's log.txt, too.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>

namespace fulcrum::apps {

struct StepInfo {
  int64_t epoch, epochs, step, steps;
  double loss, objective;  // means over the epoch so far: plain, and weighted Σ p l
  double lr;
  int64_t images;  // since begin_epoch
};

class ProgressLine {
 public:
  /// Plain lines come every `log_interval` steps. One that is not `shown` is silent and writes no log.
  ProgressLine(int64_t log_interval, std::filesystem::path log, bool shown = true);
  /// `step`: of an epoch that goes on after a stop, the steps that are done.
  void begin_epoch(int64_t step = 0);
  /// Time spent waiting for the loader, in seconds.
  void add_data_wait(double seconds) { data_wait_ += seconds; }
  /// Cheap when nothing is due: ask due() before gathering the numbers.
  bool due(int64_t step, int64_t steps) const;
  /// The first time that enough steps are done, also a lasting line with the time that is left.
  void show(const StepInfo& info);
  /// A lasting line.
  void print(const std::string& line);
  /// A lasting line, red on a terminal.
  void print_error(const std::string& line);
  /// `images` since begin_epoch.
  double images_per_second(int64_t images) const;
  /// Steps that were done at begin_epoch.
  int64_t first_step() const { return first_step_; }

 private:
  using Clock = std::chrono::steady_clock;
  double elapsed() const;
  void log(const std::string& line) const;
  bool shown_, terminal_;
  int64_t log_interval_;
  std::filesystem::path log_;
  double data_wait_ = 0;
  int64_t first_step_ = 0;
  bool announced_ = false;
  Clock::time_point epoch_start_ = Clock::now();
  Clock::time_point last_shown_ = Clock::now() - std::chrono::seconds(1);
};

/// "0:42", "1:02:03".
std::string duration_text(double seconds);

/// The text in red where `stream` is a terminal and NO_COLOR (https://no-color.org) is not set.
std::string red(const std::string& text, int stream);

}  // namespace fulcrum::apps
