// Ctrl-C and SIGTERM: the first one asks the program to finish its step, save and return; the
// second quits at once.
#pragma once

#include <csignal>

namespace fulcrum::apps {

/// 0, or the signal that came.
extern volatile std::sig_atomic_t stop_signal;

void install_stop_handlers();

}  // namespace fulcrum::apps
