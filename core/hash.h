// A fast hash of bytes, for checksums and equality tests; not cryptographic.
//
//   Hash hash;
//   hash.add(numbers.data(), numbers.size() * sizeof(float));
//   hash.add_text("name");
//   hash.value();
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace fulcrum {

/// The mixing step of MurmurHash2 over 64-bit words. Every step is invertible, so that a change
/// within one word always changes the value.
class Hash {
 public:
  void add(const void* data, size_t bytes) {
    const auto* p = static_cast<const unsigned char*>(data);
    for (; bytes >= 8; p += 8, bytes -= 8) {
      uint64_t word;
      std::memcpy(&word, p, 8);
      mix(word);
    }
    for (; bytes; bytes--) mix(*p++);
  }
  /// Adds the length first, so that "ab", "c" and "a", "bc" give different values.
  void add_text(std::string_view text) {
    mix(text.size());
    add(text.data(), text.size());
  }
  uint64_t value() const { return state_; }

 private:
  void mix(uint64_t word) {
    constexpr uint64_t kMultiplier = 0xc6a4a7935bd1e995u;
    word *= kMultiplier;
    state_ = (state_ ^ (word ^ (word >> 47)) * kMultiplier) * kMultiplier;
  }
  uint64_t state_ = 0x66756c6372756dU;
};

}  // namespace fulcrum
