// Prefetcher: makes the items first, first + 1, …, end − 1 on worker threads and returns them in order.
//
//   Prefetcher<Batch> batches(0, n, /*workers=*/2, /*depth=*/4, [&](int64_t k) { return make(k); });
//   while (std::optional<Batch> batch = batches.next()) …
//
// At most `depth` items are ahead of the consumer, in progress or complete. `make` runs on several threads at once
// and must return the same item for the same number on every thread, so that the results do not depend on the number
// of workers. If it throws, the next() that would have returned that item rethrows the exception, and there are no
// items after it. Without workers, next() makes the item itself. The destructor waits only for items that are
// being made.
#pragma once

#include <omp.h>

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <stop_token>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <fulcrum/core/check.h>

namespace fulcrum {

template <class T>
class Prefetcher {
 public:
  using Make = std::function<T(int64_t)>;

  Prefetcher(int64_t first, int64_t end, int workers, int depth, Make make)
      : make_(std::move(make)), end_(end), depth_(depth), claimed_(first), taken_(first) {
    try {
      for (int i = 0; i < workers && i < end - first; i++)
        threads_.emplace_back([this](std::stop_token stop) { work(stop); });
    } catch (const std::system_error& error) {
      fail("[prefetch] cannot start worker ", threads_.size() + 1, " of ", workers, ": ", error.what());
    }
  }

  /// The next item; nullopt after the last. Rethrows what `make` threw for it.
  std::optional<T> next() {
    if (failed_ || taken_ == end_) return std::nullopt;
    Item item = threads_.empty() ? make_item(taken_++) : wait_for_item();
    if (!item.error) return std::move(item.value);
    for (std::jthread& thread : threads_) thread.request_stop();
    failed_ = true;
    std::rethrow_exception(item.error);
  }

 private:
  struct Item {
    std::optional<T> value;
    std::exception_ptr error;
  };

  Item make_item(int64_t number) {
    try {
      return {make_(number), nullptr};
    } catch (...) {
      return {std::nullopt, std::current_exception()};
    }
  }

  Item wait_for_item() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return ready_.contains(taken_); });
    Item item = std::move(ready_.extract(taken_).mapped());
    taken_++;
    changed_.notify_all();
    return item;
  }

  void work(const std::stop_token& stop) {
    omp_set_num_threads(1);  // kernels called from this thread must not take cores from training
    std::unique_lock lock(mutex_);
    while (true) {
      const bool go_on = changed_.wait(lock, stop, [this] { return claimed_ == end_ || claimed_ < taken_ + depth_; });
      if (!go_on || stop.stop_requested() || claimed_ == end_) return;
      const int64_t number = claimed_++;
      lock.unlock();
      Item item = make_item(number);
      lock.lock();
      ready_.emplace(number, std::move(item));
      changed_.notify_all();
    }
  }

  const Make make_;
  const int64_t end_;
  const int depth_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::map<int64_t, Item> ready_;
  int64_t claimed_;                    // the next item that a worker will make
  int64_t taken_;                      // the next item that next() will return
  bool failed_ = false;                // used only by next()
  std::vector<std::jthread> threads_;  // last: joined before the rest is destroyed
};

}  // namespace fulcrum
