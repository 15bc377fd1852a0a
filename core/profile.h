// Where the time of a step goes: each mark charges the time since the previous one to a name.
//
//   Profile profile;
//   { Profiling on(profile); train_step(); }
//   for (auto& [name, row] : profile.rows) …   // row.calls, row.seconds
//
// Ops mark themselves when they record (forward) and after their gradient ran ("… gradient"). While
// nobody profiles, a mark is one test of a thread-local pointer. On a GPU an op has only been enqueued when
// it marks itself: `profile.settle` waits for it, and the time is the op's own.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <string>

namespace fulcrum {

struct ProfileRow {
  int64_t calls = 0;
  double seconds = 0;
};

struct Profile {
  using Clock = std::chrono::steady_clock;
  std::map<std::string, ProfileRow> rows;
  Clock::time_point last = Clock::now();
  std::function<void()> settle;  // called before the clock is read; may be empty

  void mark(const std::string& name) {
    if (settle) settle();
    const Clock::time_point now = Clock::now();
    ProfileRow& row = rows[name];
    row.calls++;
    row.seconds += std::chrono::duration<double>(now - last).count();
    last = now;
  }
};

inline thread_local Profile* active_profile = nullptr;

/// Charges what happens on this thread while it lives to a profile.
class Profiling {
 public:
  explicit Profiling(Profile& profile) : previous_(active_profile) {
    active_profile = &profile;
    profile.last = Profile::Clock::now();
  }
  ~Profiling() { active_profile = previous_; }
  Profiling(const Profiling&) = delete;
  Profiling& operator=(const Profiling&) = delete;

 private:
  Profile* previous_;
};

inline void profile_mark(const char* name, const char* suffix = "") {
  if (active_profile) active_profile->mark(std::string(name) + suffix);
}

}  // namespace fulcrum
