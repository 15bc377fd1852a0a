// Prints a message to stderr. A write that fails (full disk, closed terminal) does not stop the work.
//
//   say("{} images are missing\n", count);
#pragma once

#include <cstdio>
#include <utility>

#include <fmt/format.h>

namespace fulcrum::apps {

template <class... Args>
void say(fmt::format_string<Args...> format, Args&&... args) {
  std::fputs(fmt::format(format, std::forward<Args>(args)...).c_str(), stderr);
}

}  // namespace fulcrum::apps
