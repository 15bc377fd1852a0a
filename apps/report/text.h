// Text of the report: escaping, numbers, labels that fit.
//
//   escape("<b>");              // "&lt;b&gt;"
//   percent(0.8731);            // "87.31"
//   significant(0.0123456, 3);  // "0.0123"
//   clipped("a long name", 8);  // "a long …"
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace fulcrum::apps {

inline constexpr const char* kUndefined = "–";

/// Escapes text for HTML and SVG, also in quoted attributes. Bytes that are not UTF-8 become U+FFFD, control characters
/// become spaces.
std::string escape(std::string_view text);
/// A share as a percentage, without the sign; "–" for NaN.
std::string percent(double share, int decimals = 2);
/// A number with `digits` significant digits, a true minus and powers as "2·10⁻⁵"; "–" for NaN, "∞" for infinity.
std::string significant(double value, int digits = 4);
/// A number with `decimals` decimals and a true minus.
std::string decimal(double value, int decimals);
/// An integer with its thousands set apart: "60 000".
std::string grouped(int64_t count);
/// "12.3 s", "5 min 20 s", "3 h 07 min".
std::string duration(double seconds);
/// The first `columns` characters; if some are cut off, the last one is "…". Not escaped.
std::string clipped(std::string_view text, size_t columns);
/// The approximate width of a text in a sans-serif font of that size.
double text_width(std::string_view text, double font_size);

}  // namespace fulcrum::apps
