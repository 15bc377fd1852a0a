// Profile: where the time of a step goes.
// Each mark charges the time since the previous mark, and the work done in it, to a name.
//
//   Profile profile;
//   { Profiling on(profile); train_step(); }
//   for (auto& [name, row] : profile.rows) …   // row.calls, row.seconds, row.work.flop, row.work.bytes
//
// Bytes are the least that the op must move: each input and output tensor once; in the gradient, each
// input and its gradient. FLOP count convolutions and matrix products only, a multiplication and an
// addition as two, by the definition of the op, however it is computed.
// Ops mark themselves when they record (forward) and after their gradient has run ("… gradient"). Without
// a profile, a mark is one test of a thread-local pointer. On a GPU an op has only been enqueued when it
// marks itself; set `profile.settle` to wait for it, so that the time charged is the op's own.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>

namespace fulcrum {

struct Work {
  double flop = 0, bytes = 0;

  Work& operator+=(const Work& more) {
    flop += more.flop;
    bytes += more.bytes;
    return *this;
  }
};

struct ProfileRow {
  int64_t calls = 0;
  double seconds = 0;
  Work work;
};

struct Profile {
  using Clock = std::chrono::steady_clock;
  std::map<std::string, ProfileRow> rows;
  Clock::time_point last = Clock::now();
  std::function<void()> settle;  // called before the clock is read; may be empty
  Work pending;                  // work since the last mark
  bool by_shape = false;         // one row per op and shape of its output, instead of per op

  void mark(const std::string& name) {
    if (settle) settle();
    const Clock::time_point now = Clock::now();
    ProfileRow& row = rows[name];
    row.calls++;
    row.seconds += std::chrono::duration<double>(now - last).count();
    row.work += std::exchange(pending, {});
    last = now;
  }
};

inline thread_local Profile* active_profile = nullptr;

/// While alive, charges the work of this thread to a profile.
class Profiling {
 public:
  explicit Profiling(Profile& profile) : previous_(active_profile) {
    active_profile = &profile;
    profile.last = Profile::Clock::now();
    profile.pending = {};
  }
  ~Profiling() { active_profile = previous_; }
  Profiling(const Profiling&) = delete;
  Profiling& operator=(const Profiling&) = delete;

 private:
  Profile* previous_;
};

/// Adds work, which the next mark will charge to its name.
inline void profile_work(const Work& work) {
  if (active_profile) active_profile->pending += work;
}

inline void profile_mark(const char* name, const char* suffix = "") {
  if (active_profile) active_profile->mark(std::string(name) + suffix);
}

}  // namespace fulcrum
