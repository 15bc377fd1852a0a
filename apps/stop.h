// Ctrl-C, SIGTERM and SIGHUP: the first one asks the program to finish its step, save and return; the
// second quits at once.
#pragma once

#include <csignal>

#include <fulcrum/core/communicator.h>

namespace fulcrum::apps {

/// The signal that came, or 0.
extern volatile std::sig_atomic_t stop_signal;

void install_stop_handlers();

/// The signal that came to any of the processes, or 0. It counts from then on as having come to this process, too. A
/// collective call: every process makes it at the same place.
int agree_on_stop(Communicator& processes);

}  // namespace fulcrum::apps
