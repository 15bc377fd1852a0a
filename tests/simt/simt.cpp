#include "simt.h"

#include <ucontext.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <deque>
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

// swapcontext makes a system call for the signal mask, and AddressSanitizer's version clears the shadow of the whole
// stack: ten times as slow as the rest of a barrier. leap and leave must be two functions, and not instrumented.
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

struct Copy {
  void* to;
  const void* from;
};

struct Thread {
  Jump jump;                      // where it waits
  std::unique_ptr<char[]> stack;  // null before its first block
  Wait wait = Wait::kNone;
  unsigned mask = 0;
  bool done = false;
  std::vector<Copy> begun;
  std::deque<std::vector<Copy>> closed;
};

std::vector<Thread> threads;
unsigned current;
Jump scheduler;
const std::function<void()>* kernel;
unsigned long long slots[1024];
unsigned at_operation[32];

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
void entered() { __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack, &scheduler_size); }
#else
void before_thread(Thread&) {}
void after_thread() {}
void to_scheduler() { leave(threads[current].jump, scheduler); }
void entered() {}
#endif

/// The body of a fiber: runs its thread's part of one block after another, for ever.
void live() {
  entered();
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

// Lets the lanes of a warp go on once all lanes that the first waiting one names have arrived.
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

// Runs the lanes of a warp until each is done or waits for the block.
bool run_warp(unsigned first) {
  const unsigned count = std::min(32u, block.x - first);
  bool progress = false;
  do {
    for (unsigned n = 0; n < count; n++) {
      current = first + (reversed() ? count - 1 - n : n);
      Thread& t = threads[current];
      if (t.done || t.wait != Wait::kNone) continue;
      progress = true;
      to_thread(t);
    }
  } while (release_warp(first));
  return progress;
}

// Runs each warp as far as it gets: where a barrier is missing, it gets ahead of the others.
void run_block() {
  for (unsigned i = 0; i < block.x; i++) {
    threads[i].done = false;
    threads[i].wait = Wait::kNone;
    threads[i].begun.clear();
    threads[i].closed.clear();
  }
  const unsigned warps = (block.x + 31) / 32;
  bool progress = false;
  do {
    progress = false;
    for (unsigned n = 0; n < warps; n++) progress |= run_warp(32 * (reversed() ? warps - 1 - n : n));
    progress |= release_block();
  } while (progress);
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

void broken(const char* what) { broken(what, current); }
unsigned thread_number() { return current; }
unsigned long long& exchange(unsigned thread) { return slots[thread]; }
unsigned& arrived() { return at_operation[current / 32]; }

// Networks need millions of these: not instrumented, and compiled with -O3, which vectorises (CMakeLists.txt).
[[gnu::no_sanitize_address]] void multiply(Product* const (&lanes)[32]) {
  float a[16][16], b[16][8], sum[16][8];
  const auto number = [](uint32_t pair, unsigned half) {
    return std::bit_cast<float>(half ? pair & 0xffff0000u : pair << 16);
  };
  for (unsigned lane = 0; lane < 32; lane++) {
    const Product& p = *lanes[lane];
    const unsigned row = lane / 4, column = lane % 4 * 2;
    for (unsigned i = 0; i < 4; i++)
      for (unsigned half = 0; half < 2; half++) {
        a[row + i % 2 * 8][column + i / 2 * 8 + half] = number(p.a[i], half);
        if (i < 2) b[column + i * 8 + half][row] = number(p.b[i], half);
        sum[row + i / 2 * 8][column + i % 2] = p.sum[i];
      }
  }
  for (unsigned i = 0; i < 16; i++)
    for (unsigned k = 0; k < 16; k++)
      for (unsigned j = 0; j < 8; j++) sum[i][j] += a[i][k] * b[k][j];
  for (unsigned lane = 0; lane < 32; lane++)
    for (unsigned i = 0; i < 4; i++) lanes[lane]->sum[i] = sum[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2];
}

void begin_copy(void* shared, const void* global) {
  if ((reinterpret_cast<uintptr_t>(shared) | reinterpret_cast<uintptr_t>(global)) % 16 != 0)
    broken("copy_async: an address off a 16-byte boundary");
  threads[current].begun.push_back({shared, global});
}

void close_copies() {
  Thread& t = threads[current];
  t.closed.push_back(std::move(t.begun));
  t.begun.clear();
}

void wait_for_copies(size_t open) {
  auto& closed = threads[current].closed;
  for (; closed.size() > open; closed.pop_front())
    for (const Copy& c : closed.front()) {
      if (c.from) std::memcpy(c.to, c.from, 16);
      else std::memset(c.to, 0, 16);
    }
}

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
