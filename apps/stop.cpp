#include "apps/stop.h"

#include <unistd.h>

namespace fulcrum::apps {

volatile std::sig_atomic_t stop_signal = 0;

namespace {

volatile std::sig_atomic_t signals = 0;  // whether one came to this process

extern "C" void on_stop_signal(int signal) {
  if (signals != 0) _exit(128 + signal);
  signals = 1;
  stop_signal = signal;
}

}  // namespace

void install_stop_handlers() {
  std::signal(SIGINT, on_stop_signal);
  std::signal(SIGTERM, on_stop_signal);
  if (std::signal(SIGHUP, on_stop_signal) == SIG_IGN) std::signal(SIGHUP, SIG_IGN);  // under nohup
}

int agree_on_stop(Communicator& processes) {
  const auto signal = static_cast<int>(processes.max(stop_signal));
  if (signal != 0) stop_signal = signal;
  return signal;
}

}  // namespace fulcrum::apps
