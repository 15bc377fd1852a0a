#include "apps/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>

#include "apps/say.h"

namespace fulcrum::apps {

namespace {
constexpr double kRefreshSeconds = 0.2;

// A line wider than the terminal would wrap, and its first part would not be overwritten.
size_t terminal_width() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col - 1u : 79u;
}

}  // namespace

ProgressLine::ProgressLine(int64_t log_interval, std::filesystem::path log, bool shown)
    : shown_(shown), terminal_(isatty(STDERR_FILENO) != 0), log_interval_(log_interval), log_(std::move(log)) {}

void ProgressLine::begin_epoch(int64_t step) {
  first_step_ = step;
  epoch_start_ = Clock::now();
  data_wait_ = 0;
}

double ProgressLine::elapsed() const { return std::chrono::duration<double>(Clock::now() - epoch_start_).count(); }

double ProgressLine::images_per_second(int64_t images) const {
  return static_cast<double>(images) / std::max(elapsed(), 1e-9);
}

bool ProgressLine::due(int64_t step, int64_t steps) const {
  if (!shown_) return false;
  if (!terminal_) return step % log_interval_ == 0;
  const double since = std::chrono::duration<double>(Clock::now() - last_shown_).count();
  return step == steps || since >= kRefreshSeconds;
}

void ProgressLine::show(const StepInfo& s) {
  last_shown_ = Clock::now();
  const double seconds = elapsed();
  const double rate = images_per_second(s.images);
  const int64_t steps = s.step - first_step_;
  const double per_step = seconds / static_cast<double>(std::max<int64_t>(steps, 1));
  const double left = per_step * static_cast<double>(s.steps - s.step + (s.epochs - s.epoch - 1) * s.steps);
  constexpr int64_t kSteady = 20;  // steps after which plans are made and pools are full
  if (!announced_ && steps >= kSteady) {
    announced_ = true;
    print(fmt::format("time left: about {} at {:.3g} ms per step, without evaluations", duration_text(left),
                      1e3 * per_step));
  }
  // The most important first: a narrow terminal cuts off the end.
  std::string text = fmt::format("epoch {}/{} step {}/{} left {} loss {:.4f} lr {:.3g} {:.0f} img/s", s.epoch + 1,
                                 s.epochs, s.step, s.steps, duration_text(left), s.loss, s.lr, rate);
  if (std::abs(s.objective - s.loss) >= 5e-5) text += fmt::format(" weighted {:.4f}", s.objective);
  if (const double share = data_wait_ / std::max(seconds, 1e-9); share >= 0.01)
    text += fmt::format(" wait {:.0f}%", 100 * share);
  if (terminal_) {
    say("\r\x1b[K{}", text.substr(0, terminal_width()));
    std::fflush(stderr);
  } else {
    say("{}\n", text);
  }
}

void ProgressLine::print(const std::string& line) {
  if (!shown_) return;
  log(line);  // first: writing to a closed pipe may end the program
  say("{}{}\n", terminal_ ? "\r\x1b[K" : "", line);
}

void ProgressLine::print_error(const std::string& line) {
  if (!shown_) return;
  log("error: " + line);
  say("{}{}{}\n", terminal_ ? "\r\x1b[K" : "", red("error: ", STDERR_FILENO), line);
}

// The log is a convenience: if it cannot be written, the run continues.
void ProgressLine::log(const std::string& line) const {
  char time[24];
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  std::strftime(time, sizeof time, "%F %T", &local);
  std::ofstream(log_, std::ios::app) << time << "  " << line << "\n";
}

std::string red(const std::string& text, int stream) {
  const char* no_color = std::getenv("NO_COLOR");
  if (!isatty(stream) || (no_color && *no_color)) return text;
  return "\x1b[31m" + text + "\x1b[0m";
}

std::string duration_text(double seconds) {
  const int64_t s = std::llround(seconds);
  if (s >= 3600) return fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
  return fmt::format("{}:{:02}", s / 60, s % 60);
}

}  // namespace fulcrum::apps
