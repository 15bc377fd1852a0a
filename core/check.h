// Errors: one exception type, one function that throws it.
//
//   check(x.dim() == 4, "[conv2d] expected x [N, H, W, C], got ", x.shape());
//
// The message is formatted only when the condition is false. A message names the operation in brackets, what was
// expected, and what it got instead.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace fulcrum {

/// The exception type of everything that Fulcrum throws itself.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The system or a device has no memory left. The same call may succeed once memory has been freed.
class OutOfMemory : public Error {
 public:
  using Error::Error;
};

/// Concatenates anything that can be streamed.
template <class... Parts>
std::string concat_text(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

template <class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  throw Error(concat_text(parts...));
}

/// Throws Error with the concatenated parts when `condition` is false.
template <class... Parts>
void check(bool condition, const Parts&... parts) {
  if (!condition) [[unlikely]]
    fail(parts...);
}

}  // namespace fulcrum
