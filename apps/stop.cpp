#include "apps/stop.h"

#include <unistd.h>

namespace fulcrum::apps {

volatile std::sig_atomic_t stop_signal = 0;

namespace {

extern "C" void on_stop_signal(int signal) {
  if (stop_signal != 0) _exit(128 + signal);
  stop_signal = signal;
}

}  // namespace

void install_stop_handlers() {
  std::signal(SIGINT, on_stop_signal);
  std::signal(SIGTERM, on_stop_signal);
}

}  // namespace fulcrum::apps
