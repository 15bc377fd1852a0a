#include "apps/roof.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include <omp.h>

#include "apps/seconds.h"

namespace fulcrum::apps {

namespace {

constexpr int kRounds = 5;

/// The least time of a few rounds, in seconds.
template <class F>
double least_seconds(F f) {
  double least = std::numeric_limits<double>::max();
  for (int i = 0; i < kRounds; i++) {
    const auto start = Clock::now();
    f();
    least = std::min(least, seconds_since(start));
  }
  return least;
}

// Enough accumulators to hide the latency of a multiply-add, few enough not to spill registers; each as wide as the
// instruction set that the compiler targets.
constexpr int kSums = 12;
#if defined(__AVX512F__)
constexpr int kBytes = 64;
#elif defined(__AVX__)
constexpr int kBytes = 32;
#else
constexpr int kBytes = 16;
#endif
typedef float Vec __attribute__((vector_size(kBytes)));

Vec multiply_add(int64_t steps, float x) {
  Vec sums[kSums] = {}, a = {}, b = {};
  a += x, b += x;
  // Each sum starts from a different value: the compiler would merge equal ones.
  for (int i = 0; i < kSums; i++) sums[i] += x * static_cast<float>(i);
  for (int64_t i = 0; i < steps; i++) {
#pragma GCC unroll 12
    for (Vec& sum : sums) sum = sum * a + b;
  }
  Vec total = {};
  for (const Vec& sum : sums) total += sum;
  return total;
}

}  // namespace

Roof measure_roof() {
  constexpr int64_t kSteps = 2'000'000, kFloats = int64_t{16} << 20;  // 64 MB an array
  const int threads = omp_get_max_threads();
  float sink = 0;
  const double arithmetic = least_seconds([&] {
#pragma omp parallel num_threads(threads) reduction(+ : sink)
    sink += multiply_add(kSteps, 0.5f)[0];
  });
  std::vector<float> a(kFloats), b(kFloats, 1), c(kFloats, sink);
  const double memory = least_seconds([&] {
#pragma omp parallel for simd schedule(static) num_threads(threads)
    for (int64_t i = 0; i < kFloats; i++)
      a[static_cast<size_t>(i)] = b[static_cast<size_t>(i)] + 3 * c[static_cast<size_t>(i)];
  });
  const double lanes = static_cast<double>(kBytes) / sizeof(float);
  return {.flop_per_s = 2 * lanes * kSums * kSteps * threads / arithmetic,
          .bytes_per_s = 3 * sizeof(float) * static_cast<double>(kFloats) / memory};
}

}  // namespace fulcrum::apps
