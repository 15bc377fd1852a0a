#include <fulcrum/core/random.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include <fulcrum/core/arena.h>

namespace fulcrum {

namespace {

// The logarithm of u in (0, 1], accurate to the last bits of f64 (atanh's series about the nearest power of two).
// Without branches and calls, so that the compiler vectorises it: with the C library's log, sin and cos, the same 25
// million floats, ResNet-50's first step ended 0.24 s later (of 0.79).
double log_of(double u) {
  constexpr uint64_t kSqrtHalf = 0x3fe6a09e667f3bcd;
  const auto bits = std::bit_cast<uint64_t>(u);
  const int64_t exponent = static_cast<int64_t>(bits - kSqrtHalf) >> 52;
  const auto m = std::bit_cast<double>(bits - (static_cast<uint64_t>(exponent) << 52));  // in [sqrt(1/2), sqrt(2))
  const double s = (m - 1) / (m + 1), z = s * s;
  double p = 2.0 / 21;
  for (double n : {19.0, 17.0, 15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0}) p = p * z + 2 / n;
  // Converts a small integer to double without the instruction, which vector units before AVX-512 lack.
  const double e = std::bit_cast<double>(0x4338000000000000 + static_cast<uint64_t>(exponent)) - 0x1.8p52;
  return e * 0.6931471805599453 + (p * z * s + 2 * s);
}

struct SinCos {
  double sin, cos;
};
// Sine and cosine of 2π·turns, turns in [0, 1), by Taylor series about the nearest quarter turn.
SinCos sin_cos_of(double turns) {
  const double shifted = turns * 4 + 0x1.8p52;
  const auto quarter = std::bit_cast<uint64_t>(shifted);
  const double r = (turns - (shifted - 0x1.8p52) * 0.25) * 6.283185307179586, z = r * r;
  double s = -1.0 / 1307674368000, c = 1.0 / 20922789888000;
  for (double a : {1.0 / 6227020800, -1.0 / 39916800, 1.0 / 362880, -1.0 / 5040, 1.0 / 120, -1.0 / 6}) s = s * z + a;
  s = s * z * r + r;
  for (double a : {-1.0 / 87178291200, 1.0 / 479001600, -1.0 / 3628800, 1.0 / 40320, -1.0 / 720, 1.0 / 24, -0.5, 1.0})
    c = c * z + a;
  const bool swapped = quarter & 1;
  const double sine = swapped ? c : s, cosine = swapped ? s : c;
  return {quarter & 2 ? -sine : sine, (quarter + 1) & 2 ? -cosine : cosine};
}

constexpr int kRun = 32;  // blocks drawn at a time
template <class T>
using Run = T[4][kRun];  // [k][i]: number k of block i

// Fills t: elements 4b to 4b + 3 come from block b. draw(words, numbers) turns a run of blocks into numbers.
template <class Draw>
void fill_from_host(Tensor& t, const Philox& philox, Draw draw) {
  const bool in_place = t.device().is_cpu() && t.dtype() == DType::kF32;
  Tensor host = in_place ? t : empty(t.shape());
  float* x = host.data<float>();
  const int64_t n = t.numel(), step = 4 * kRun, runs = (n + step - 1) / step;
#pragma omp parallel for if (runs > 128)
  for (int64_t r = 0; r < runs; r++) {
    Run<uint32_t> words;
    for (int i = 0; i < kRun; i++) {
      const Words4 block = philox.block(static_cast<uint64_t>(r * kRun + i));
      for (int k = 0; k < 4; k++) words[k][i] = block.w[k];
    }
    Run<float> numbers;
    draw(words, numbers);
    float elements[4 * kRun];
    for (int i = 0; i < kRun; i++)
      for (int k = 0; k < 4; k++) elements[4 * i + k] = numbers[k][i];
    std::copy_n(elements, std::min(step, n - step * r), x + step * r);
  }
  if (!in_place) return t.copy_from(host);
  t.mark_written();
  refresh_twin(t);
}

}  // namespace

Generator::Generator(uint64_t s, uint64_t st, Device device)
    : seed(s), stream(st), position(zeros({1}, {DType::kI64, device})) {}

namespace {
// The largest number below `high` in the tensor's dtype, or in f32 if the dtype is wider.
float largest_below(float high, DType dtype) {
  const float below = std::nextafter(high, -std::numeric_limits<float>::infinity());
  if (dtype != DType::kBf16) return below;
  constexpr uint32_t kCut = 0xffff;
  auto bits = std::bit_cast<uint32_t>(below);
  if (below < 0) bits += kCut;  // towards −∞
  return std::bit_cast<float>(bits & ~kCut);
}
}  // namespace

void fill_uniform(Tensor& t, double low, double high, uint64_t seed, uint64_t stream) {
  const auto a = static_cast<float>(low), width = static_cast<float>(high - low);
  const float most = std::max(a, largest_below(static_cast<float>(high), t.dtype()));  // rounding may give `high`
  fill_from_host(t, Philox(seed, stream), [&](const Run<uint32_t>& words, Run<float>& x) {
    for (int k = 0; k < 4; k++)
      for (int i = 0; i < kRun; i++) x[k][i] = std::min(a + width * Philox::to_uniform(words[k][i]), most);
  });
}

// Computes Philox::to_normal for runs of blocks.
void fill_normal(Tensor& t, double mean, double stddev, uint64_t seed, uint64_t stream) {
  const auto m = static_cast<float>(mean), s = static_cast<float>(stddev);
  fill_from_host(t, Philox(seed, stream), [&](const Run<uint32_t>& words, Run<float>& x) {
    for (int k = 0; k < 4; k += 2)
      for (int i = 0; i < kRun; i++) {
        const double radius = std::sqrt(-2 * log_of(1.0 - static_cast<double>(Philox::to_uniform(words[k][i]))));
        const SinCos at = sin_cos_of(static_cast<double>(Philox::to_uniform(words[k + 1][i])));
        x[k][i] = m + s * static_cast<float>(radius * at.cos);
        x[k + 1][i] = m + s * static_cast<float>(radius * at.sin);
      }
  });
}

}  // namespace fulcrum
