#include "apps/report/text.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include <fulcrum/core/serialize_json.h>

namespace fulcrum::apps {

namespace {

// The number of bytes of the character at the start of `text`; 1 if it is not UTF-8.
size_t character(std::string_view text) { return std::max<size_t>(1, header_json::utf8_length(text)); }

std::string with_minus(std::string text) { return text.starts_with('-') ? "−" + text.substr(1) : text; }

std::string superscript(int exponent) {
  constexpr const char* kDigits[] = {"⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"};
  std::string out = exponent < 0 ? "⁻" : "";
  for (const char c : std::to_string(std::abs(exponent))) out += kDigits[c - '0'];
  return out;
}

}  // namespace

std::string escape(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const size_t length = header_json::utf8_length(text);
    const char c = text.front();
    if (length == 0) {
      out += "\uFFFD";
    } else if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else if (c == '"') {
      out += "&quot;";
    } else if (c == '\'') {
      out += "&#39;";
    } else if (length == 1 && c != '\n' && (static_cast<unsigned char>(c) < 0x20 || c == 0x7F)) {
      out += ' ';
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(std::max<size_t>(1, length));
  }
  return out;
}

std::string decimal(double value, int decimals) {
  if (std::isnan(value)) return kUndefined;
  if (std::isinf(value)) return value > 0 ? "∞" : "−∞";
  std::string text = fmt::format("{:.{}f}", value, decimals);
  if (text.find_first_not_of("-0.") == std::string::npos && text.front() == '-') text.erase(0, 1);
  return with_minus(text);
}

std::string percent(double share, int decimals) { return decimal(100 * share, decimals); }

std::string significant(double value, int digits) {
  if (!std::isfinite(value)) return decimal(value, 0);
  const std::string text = fmt::format("{:.{}g}", value, digits);
  const size_t e = text.find('e');
  if (e == std::string::npos) return with_minus(text);
  const std::string mantissa = text.substr(0, e);
  const std::string factor = mantissa == "1" ? "" : mantissa == "-1" ? "−" : with_minus(mantissa) + "·";
  return factor + "10" + superscript(std::stoi(text.substr(e + 1)));
}

std::string grouped(int64_t count) {
  std::string digits = std::to_string(count < 0 ? -count : count);
  if (digits.size() > 4)
    for (size_t i = digits.size(); i > 3;) digits.insert(i -= 3, "\u202F");
  return count < 0 ? "−" + digits : digits;
}

std::string duration(double seconds) {
  if (!std::isfinite(seconds)) return kUndefined;
  const auto whole = static_cast<int64_t>(std::lround(seconds));
  if (whole < 60) return fmt::format("{:.1f} s", seconds);
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02} min", grouped(whole / 3600), whole % 3600 / 60);
}

std::string clipped(std::string_view text, size_t columns) {
  size_t bytes = 0, last = 0, count = 0;
  for (; bytes < text.size(); count++) {
    if (count + 1 == columns) last = bytes;
    if (count == columns) return std::string(text.substr(0, last)) + "…";
    bytes += character(text.substr(bytes));
  }
  return std::string(text);
}

double text_width(std::string_view text, double font_size) {
  double ems = 0;
  for (size_t at = 0; at < text.size();) {
    const auto lead = static_cast<unsigned char>(text[at]);
    // Characters from U+3000 on are about as wide as high.
    ems += lead >= 0xE3                                                                             ? 1.0
           : lead < 0x80 && std::string_view("il.,:;|'! ").find(text[at]) != std::string_view::npos ? 0.3
           : lead < 0x80 && std::string_view("MWmw").find(text[at]) != std::string_view::npos       ? 0.88
           : lead >= 'A' && lead <= 'Z'                                                             ? 0.72
                                                                                                    : 0.58;
    at += character(text.substr(at));
  }
  return ems * font_size;
}

}  // namespace fulcrum::apps
