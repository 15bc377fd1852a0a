// Random numbers by Philox4x32-10, a counter-based generator.
// It gives the same bits on every device, at any position, in any order (Salmon et al., "Parallel random
// numbers: as easy as 1, 2, 3", SC 2011).
//
//   Philox philox(seed, stream);
//   float u = philox.uniform(i);      // element i of the stream, in [0, 1)
//
//   Generator g(seed, streams::kDropout);   // stateful: its position lives on the device
#pragma once

#include <cmath>
#include <cstdint>

#include <fulcrum/core/tensor.h>

namespace fulcrum {

struct Words4 {
  uint32_t w[4];
};

class Philox {
 public:
  FULCRUM_HD Philox(uint64_t seed, uint64_t stream) : seed_(seed), stream_(stream) {}

  /// Returns the four random words of block `index`.
  FULCRUM_HD Words4 block(uint64_t index) const {
    uint32_t c0 = lo(index), c1 = hi(index), c2 = lo(stream_), c3 = hi(stream_);
    uint32_t k0 = lo(seed_), k1 = hi(seed_);
    for (int round = 0; round < 10; round++) {
      const uint64_t p0 = uint64_t{0xD2511F53u} * c0;
      const uint64_t p1 = uint64_t{0xCD9E8D57u} * c2;
      c0 = hi(p1) ^ c1 ^ k0;
      c1 = lo(p1);
      c2 = hi(p0) ^ c3 ^ k1;
      c3 = lo(p0);
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    return {{c0, c1, c2, c3}};
  }

  /// Word i of the stream: word i % 4 of block i / 4.
  FULCRUM_HD uint32_t word(uint64_t i) const { return block(i / 4).w[i % 4]; }
  /// In [0, 1), a multiple of 2^-24.
  FULCRUM_HD float uniform(uint64_t i) const { return to_uniform(word(i)); }
  /// Standard normal, by Box-Muller from words 2·(i/2) and 2·(i/2) + 1.
  FULCRUM_HD float normal(uint64_t i) const { return to_normal(block(i / 4), i % 4); }
  /// An integer in [0, n) from word i; the bias is below n / 2^32.
  FULCRUM_HD uint32_t below(uint64_t i, uint32_t n) const { return scale(word(i), n); }

  FULCRUM_HD static float to_uniform(uint32_t word) { return static_cast<float>(word >> 8) * 0x1p-24f; }
  FULCRUM_HD static float to_normal(const Words4& words, uint64_t i) {
    const uint64_t pair = i & 2u;
    const double u = 1.0 - static_cast<double>(to_uniform(words.w[pair]));
    const double v = static_cast<double>(to_uniform(words.w[pair + 1]));
    const double r = std::sqrt(-2.0 * std::log(u)), angle = 6.283185307179586 * v;
    return static_cast<float>(r * (i % 2 == 0 ? std::cos(angle) : std::sin(angle)));
  }
  FULCRUM_HD static uint32_t scale(uint32_t word, uint32_t n) { return hi(uint64_t{word} * n); }

 private:
  FULCRUM_HD static uint32_t lo(uint64_t x) { return static_cast<uint32_t>(x); }
  FULCRUM_HD static uint32_t hi(uint64_t x) { return static_cast<uint32_t>(x >> 32); }
  uint64_t seed_, stream_;
};

/// Stream numbers, one per use of randomness, so that no two uses share random bits.
/// Parameter number i of a model is initialised from stream kInit + i.
namespace streams {
inline constexpr uint64_t kShuffle = 1;
inline constexpr uint64_t kAugment = 2;
inline constexpr uint64_t kDropout = 3;
inline constexpr uint64_t kSubset = 4;
inline constexpr uint64_t kNoise = 5;
inline constexpr uint64_t kSplit = 6;
inline constexpr uint64_t kResizedCrop = 7;
inline constexpr uint64_t kRandomCrop = 8;
inline constexpr uint64_t kColorJitter = 9;
inline constexpr uint64_t kRandAugment = 10;
inline constexpr uint64_t kMix = 11;
inline constexpr uint64_t kErase = 12;
inline constexpr uint64_t kInit = uint64_t{1} << 32;
}  // namespace streams

/// A Philox stream with a position that advances on the device: i64[1], counted in blocks.
struct Generator {
  uint64_t seed = 0;
  uint64_t stream = 0;
  Tensor position;

  Generator(uint64_t seed, uint64_t stream, Device device = {});
};

/// Fills t with uniform numbers in [low, high). They are drawn on the host, whatever the device of t.
void fill_uniform(Tensor& t, double low, double high, uint64_t seed, uint64_t stream);
/// Fills t with normal numbers, drawn on the host.
void fill_normal(Tensor& t, double mean, double stddev, uint64_t seed, uint64_t stream);

}  // namespace fulcrum
