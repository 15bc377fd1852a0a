// Ctrl-C, SIGTERM and SIGHUP: the first one asks the program to finish its step, save and return; the
// second quits at once.
#pragma once

#include <csignal>

#include <fulcrum/core/communicator.h>

namespace fulcrum::apps {

/// 0, or the signal that came.
extern volatile std::sig_atomic_t stop_signal;

void install_stop_handlers();

/// The signal that came to any of the processes, which from here on has come to this one, too; 0: none. Every process
/// calls it, at the same place.
int agree_on_stop(Communicator& processes);

}  // namespace fulcrum::apps
