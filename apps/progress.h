// ProgressLine: the progress of a run on stderr, as one line that rewrites itself on a terminal, or plain lines
// elsewhere. Lasting lines go to the run's log.txt, too. stdout is for the result.
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
  /// Prints plain lines every `log_interval` steps. If not `shown`, it prints nothing and writes no log.
  ProgressLine(int64_t log_interval, std::filesystem::path log, bool shown = true);
  /// `step` is the number of steps already done, in an epoch that is resumed.
  void begin_epoch(int64_t step = 0);
  /// Time spent waiting for the loader, in seconds.
  void add_data_wait(double seconds) { data_wait_ += seconds; }
  /// Whether a line is due; cheap, so that the numbers for show() are gathered only then.
  bool due(int64_t step, int64_t steps) const;
  /// Shows the line. Once, after enough steps, also prints a lasting line with the time that is left.
  void show(const StepInfo& info);
  /// Prints a lasting line.
  void print(const std::string& line);
  /// Prints a lasting line, red on a terminal.
  void print_error(const std::string& line);
  /// The rate, from the number of images since begin_epoch.
  double images_per_second(int64_t images) const;
  /// Steps already done at begin_epoch.
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
