// A small strict JSON reader for the header of a safetensors file.
// It reads objects, strings, and lists of strings and of non-negative integers. Not installed. data/ and
// apps/ also use it, for is_utf8 and JSON strings.
//
//   header_json::Reader json(text, "[load_tensors] model.safetensors");
//   json.object([&](const std::string& key) { values[key] = json.string(); });
//   json.finish();
//
// The reader recurses only where the caller nests its calls, so no input can exhaust the stack. Every
// string is valid UTF-8. Throws Error with the position for malformed input.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fulcrum/core/check.h>

namespace fulcrum::header_json {

/// Returns the length of the valid UTF-8 sequence at the start of `s`, or 0 (RFC 3629: no overlong forms, no
/// surrogates, nothing above U+10FFFF).
inline size_t utf8_length(std::string_view s) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(s[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || s.size() < length) return 0;
  const unsigned low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const unsigned high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  if (byte(1) < low || byte(1) > high) return 0;
  for (size_t i = 2; i < length; i++)
    if ((byte(i) & 0xC0) != 0x80) return 0;
  return length;
}

inline bool is_utf8(std::string_view s) {
  while (!s.empty()) {
    const size_t n = utf8_length(s);
    if (n == 0) return false;
    s.remove_prefix(n);
  }
  return true;
}

/// Returns `s` as a JSON string, with quotes and escapes.
inline std::string quote(std::string_view s) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : s) {
    const auto u = static_cast<unsigned char>(c);
    if (u < 0x20 || u == 0x7F) {
      out += {'\\', 'u', '0', '0', kHex[u >> 4], kHex[u & 15]};
    } else {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
  }
  return out + '"';
}

/// Quotes a name from a file for a message: escapes control characters and bounds the length.
inline std::string shown(std::string_view name) {
  constexpr size_t kMaxShown = 120;
  if (name.size() <= kMaxShown) return quote(name);
  size_t end = kMaxShown;
  while (end > 0 && (static_cast<unsigned char>(name[end]) & 0xC0) == 0x80) end--;
  return quote(name.substr(0, end)) + "…";
}

class Reader {
 public:
  /// `where` is the start of every error message. The text must outlive the reader.
  Reader(std::string_view text, std::string where) : text_(text), where_(std::move(where)) {
    if (!is_utf8(text_)) fail(where_, ": expected a header in UTF-8");
    if (text_.substr(0, 1) != "{") fail_here("'{'");  // the format allows no space before it
  }

  /// Reads an object: calls member(key) for each key, which must then read the value.
  template <class Member>
  void object(Member member) {
    expect('{');
    if (accept('}')) return;
    do {
      const std::string key = string();
      expect(':');
      member(key);
    } while (accept(','));
    expect('}');
  }

  uint64_t number() {
    skip_space();
    const size_t begin = at_;
    uint64_t value = 0;
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; at_++) {
      const auto digit = static_cast<uint64_t>(text_[at_] - '0');
      if (__builtin_mul_overflow(value, uint64_t{10}, &value) || __builtin_add_overflow(value, digit, &value))
        fail_here("a number below 2^64");
    }
    if (at_ == begin || (at_ - begin > 1 && text_[begin] == '0')) {
      at_ = begin;
      fail_here("a non-negative integer");
    }
    return value;
  }

  /// Reads a list of at most max_count integers.
  std::vector<uint64_t> numbers(size_t max_count) {
    std::vector<uint64_t> values;
    expect('[');
    if (accept(']')) return values;
    do {
      if (values.size() == max_count) fail_here("at most " + std::to_string(max_count) + " numbers");
      values.push_back(number());
    } while (accept(','));
    expect(']');
    return values;
  }

  std::vector<std::string> strings() {
    std::vector<std::string> values;
    expect('[');
    if (accept(']')) return values;
    do values.push_back(string());
    while (accept(','));
    expect(']');
    return values;
  }

  std::string string() {
    expect('"');
    std::string out;
    for (;;) {
      if (at_ >= text_.size()) fail_here("'\"'");
      const char c = text_[at_];
      if (static_cast<unsigned char>(c) < 0x20) fail_here("no control character in a string");
      at_++;
      if (c == '"') return out;
      if (c != '\\') {
        out += c;
        continue;
      }
      constexpr std::string_view kEscapes = "\"\\/bfnrt", kMeanings = "\"\\/\b\f\n\r\t";
      const char escape = at_ < text_.size() ? text_[at_] : '\0';
      if (escape == 'u') {
        at_++;
        append_escaped_unicode(out);
      } else if (const size_t i = kEscapes.find(escape); i != std::string_view::npos) {
        at_++;
        out += kMeanings[i];
      } else {
        fail_here("an escape of JSON");
      }
    }
  }

  /// Throws Error if anything but white space is left.
  void finish() {
    skip_space();
    if (at_ != text_.size()) fail_here("only spaces after the last '}'");
  }

 private:
  [[noreturn]] void fail_here(std::string_view expected) const {
    fail(where_, ": expected ", expected, " at byte ", at_, " of the header, got ",
         at_ < text_.size() ? shown(text_.substr(at_, 16)) : std::string("its end"));
  }

  void skip_space() { at_ = std::min(text_.find_first_not_of(" \t\r\n", at_), text_.size()); }
  bool accept(char c) {
    skip_space();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    at_++;
    return true;
  }
  void expect(char c) {
    if (!accept(c)) fail_here(std::string{'\'', c, '\''});
  }

  uint32_t hex4() {
    uint32_t value = 0;
    for (int i = 0; i < 4; i++, at_++) {
      const char c = at_ < text_.size() ? text_[at_] : '\0';
      if (c >= '0' && c <= '9') {
        value = value * 16 + static_cast<uint32_t>(c - '0');
      } else if ((c | 32) >= 'a' && (c | 32) <= 'f') {
        value = value * 16 + static_cast<uint32_t>((c | 32) - 'a' + 10);
      } else {
        fail_here("a hexadecimal digit");
      }
    }
    return value;
  }

  // Appends the character of an escape \uXXXX, whose \u has been read. Two surrogates make one character.
  void append_escaped_unicode(std::string& out) {
    uint32_t code = hex4();
    if (code >= 0xD800 && code < 0xE000) {
      const bool pair = code < 0xDC00 && text_.substr(at_, 2) == "\\u";
      if (!pair) fail_here("a pair of surrogates");
      at_ += 2;
      const uint32_t low = hex4();
      if (low < 0xDC00 || low >= 0xE000) fail_here("a pair of surrogates");
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    const auto tail = [&](int shift) { return static_cast<char>(0x80 | ((code >> shift) & 0x3F)); };
    if (code < 0x80) {
      out += static_cast<char>(code);
    } else if (code < 0x800) {
      out += {static_cast<char>(0xC0 | (code >> 6)), tail(0)};
    } else if (code < 0x10000) {
      out += {static_cast<char>(0xE0 | (code >> 12)), tail(6), tail(0)};
    } else {
      out += {static_cast<char>(0xF0 | (code >> 18)), tail(12), tail(6), tail(0)};
    }
  }

  std::string_view text_;
  std::string where_;
  size_t at_ = 0;
};

}  // namespace fulcrum::header_json
