#include "simt.h"

#include <ucontext.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <vector>

#include <fulcrum/core/check.h>
#include <fulcrum/core/last_op.h>

#include "recorder.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace simt {

Dim3 grid, block, block_index;

namespace {

constexpr size_t kStack = 64 * 1024;
using Jump = void* [5];  // what __builtin_setjmp fills

// swapcontext would ask the system for the signal mask, and AddressSanitizer's clears the marks of the whole stack: ten
// times as long as all else that a barrier takes. The two halves must be two functions, and not instrumented ones.
#define FULCRUM_SWITCHES [[gnu::noinline, gnu::no_sanitize_address]]
FULCRUM_SWITCHES void leap(Jump& to) { __builtin_longjmp(to, 1); }
FULCRUM_SWITCHES void leave(Jump& from, Jump& to) {
  if (__builtin_setjmp(from) == 0) leap(to);
}
FULCRUM_SWITCHES void begin(Jump& from, char* stack, void (*function)()) {
  ucontext_t context;
  getcontext(&context);
  context.uc_stack.ss_sp = stack;
  context.uc_stack.ss_size = kStack;
  context.uc_link = nullptr;
  makecontext(&context, function, 0);
  if (__builtin_setjmp(from) == 0) setcontext(&context);
}
enum class Wait { kNone, kWarp, kBlock };

struct Thread {
  Jump jump;                      // where it waits
  std::unique_ptr<char[]> stack;  // none before its first block
  Wait wait = Wait::kNone;
  unsigned mask = 0;
  bool done = false;
};

std::vector<Thread> threads;
unsigned current;
Jump scheduler;
const std::function<void()>* kernel;
unsigned long long slots[1024];

[[noreturn]] void broken(const char* what, unsigned thread) {
  std::fprintf(stderr, "simt: %s (block %u, thread %u)\n", what, block_index.x, thread);
  std::abort();
}

// AddressSanitizer must know which stack is in use.
#if defined(__SANITIZE_ADDRESS__)
const void* scheduler_stack;
size_t scheduler_size;
void* scheduler_fake;
void before_thread(Thread& t) { __sanitizer_start_switch_fiber(&scheduler_fake, t.stack.get(), kStack); }
void after_thread() { __sanitizer_finish_switch_fiber(scheduler_fake, nullptr, nullptr); }
void to_scheduler() {
  void* fake = nullptr;
  __sanitizer_start_switch_fiber(&fake, scheduler_stack, scheduler_size);
  leave(threads[current].jump, scheduler);
  __sanitizer_finish_switch_fiber(fake, &scheduler_stack, &scheduler_size);
}
void arrived() { __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack, &scheduler_size); }
#else
void before_thread(Thread&) {}
void after_thread() {}
void to_scheduler() { leave(threads[current].jump, scheduler); }
void arrived() {}
#endif

/// A thread runs its part of one block after another, for ever.
void live() {
  arrived();
  while (true) {
    (*kernel)();
    threads[current].done = true;
    to_scheduler();
  }
}

void to_thread(Thread& t) {
  const bool born = t.stack != nullptr;
  if (!born) t.stack.reset(new char[kStack]);
  before_thread(t);
  if (born) leave(scheduler, t.jump);
  else begin(scheduler, t.stack.get(), live);
  after_thread();
}

// Lets the lanes of a warp go on once all that the first waiting one names are there.
bool release_warp(unsigned first) {
  const unsigned end = std::min(first + 32, block.x);
  unsigned mask = 0;
  for (unsigned i = first; i < end && mask == 0; i++)
    if (!threads[i].done && threads[i].wait == Wait::kWarp) mask = threads[i].mask;
  if (mask == 0) return false;
  for (unsigned i = first; i < end; i++) {
    if (!(mask >> (i - first) & 1u)) continue;
    if (threads[i].done) broken("a shuffle or __syncwarp names a lane that has left", i);
    if (threads[i].wait != Wait::kWarp) return false;
    if (threads[i].mask != mask) broken("lanes of one warp give different masks", i);
  }
  for (unsigned i = first; i < end; i++)
    if (mask >> (i - first) & 1u) threads[i].wait = Wait::kNone;
  return true;
}

bool release_block() {
  bool any = false;
  for (unsigned i = 0; i < block.x; i++) {
    if (threads[i].done) continue;
    if (threads[i].wait != Wait::kBlock) return false;
    any = true;
  }
  for (unsigned i = 0; any && i < block.x; i++) threads[i].wait = Wait::kNone;
  return any;
}

bool reversed() {
  static const bool value = [] {
    const char* order = std::getenv("FULCRUM_SIMT_ORDER");
    return order && std::string_view(order) == "reversed";
  }();
  return value;
}

void run_block() {
  for (unsigned i = 0; i < block.x; i++) threads[i].done = false, threads[i].wait = Wait::kNone;
  for (bool progress = true; progress;) {
    progress = false;
    for (unsigned n = 0; n < block.x; n++) {
      current = reversed() ? block.x - 1 - n : n;
      Thread& t = threads[current];
      if (t.done || t.wait != Wait::kNone) continue;
      progress = true;
      to_thread(t);
    }
    for (unsigned first = 0; first < block.x; first += 32) progress |= release_warp(first);
    progress |= release_block();
  }
  for (unsigned i = 0; i < block.x; i++)
    if (!threads[i].done) broken("deadlock: a thread waits for ever", i);
}

void run(unsigned blocks, unsigned count, const std::function<void()>& body) {
  if (count == 0 || count > 1024 || blocks == 0) broken("a launch of an impossible size", count);
  grid = {blocks, 1, 1};
  block = {count, 1, 1};
  kernel = &body;
  if (threads.size() < count) threads.resize(count);
  for (unsigned n = 0; n < blocks; n++) {
    block_index = {reversed() ? blocks - 1 - n : n, 0, 0};
    run_block();
  }
}

}  // namespace

unsigned thread_number() { return current; }
unsigned long long& exchange(unsigned thread) { return slots[thread]; }

void wait_block() {
  threads[current].wait = Wait::kBlock;
  to_scheduler();
}

void wait_warp(unsigned mask) {
  if (!(mask >> (current % 32) & 1u)) broken("a lane is not in its own mask", current);
  threads[current].wait = Wait::kWarp;
  threads[current].mask = mask;
  to_scheduler();
}

void launch(unsigned blocks, unsigned count, std::function<void()> body) {
  static const char* const fails = std::getenv("FULCRUM_SIMT_FAIL_AT");
  static long launches = 0;
  if (fails && ++launches == std::atol(fails))
    fulcrum::fail("[cuda] launch ", launches, " was to fail", fulcrum::last_op_text());
  enqueue([=, body = std::move(body)] { run(blocks, count, body); });
}

}  // namespace simt
